package main

// Goroutines among themselves: yield, spawn, queue, lock, memory; timers.
//
// SPDX-License-Identifier: MIT

import (
	"runtime"
	"sync"
	"time"
)

const (
	switches    = 2000000
	spawnTotal  = 1000000
	items       = 2000000
	locks       = 1000000
	timerFar    = 30 * time.Second
	timerSpread = 100 * time.Millisecond
	timerSoon   = 2 * time.Second // longer than starting them all takes
)

func yieldRun(tasks, rounds int) int64 {
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for j := 0; j < rounds; j++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	start := cpu()
	all.Wait()
	return cpu() - start
}

func yields(tasks int) {
	rounds := switches / tasks
	yieldRun(tasks, 2)
	spent := yieldRun(tasks, rounds)
	print("yield", tasks, float64(spent)/float64(tasks*rounds))
}

func spawnRun(batch, total int) {
	var all sync.WaitGroup
	for i := 0; i < total; i += batch {
		all.Add(batch)
		for j := 0; j < batch; j++ {
			go all.Done()
		}
		all.Wait()
	}
}

func spawns(batch int) {
	spawnRun(batch, batch)
	start := cpu()
	spawnRun(batch, spawnTotal)
	printSince("spawn", batch, start, spawnTotal)
}

func queue(capacity int) {
	channel := make(chan int, capacity)
	start := cpu()
	go func() {
		for i := 0; i < items; i++ {
			channel <- i
		}
		close(channel)
	}()
	sum := 0
	for item := range channel {
		sum += item
	}
	printSince("queue", capacity, start, items)
	if sum != (items-1)*items/2 {
		panic("items were lost")
	}
}

func lock(int) {
	var mutex sync.Mutex
	var all sync.WaitGroup
	count := 0
	start := cpu()
	for i := 0; i < locks; i++ {
		mutex.Lock()
		count++
		mutex.Unlock()
	}
	printSince("lock_free", 1, start, locks)

	start = cpu()
	for i := 0; i < 2; i++ {
		all.Add(1)
		go func() {
			for j := 0; j < locks/2; j++ {
				mutex.Lock()
				runtime.Gosched()
				count++
				mutex.Unlock()
			}
			all.Done()
		}()
	}
	all.Wait()
	printSince("lock_handover", 2, start, locks)
	if count != 2*locks {
		panic("the lock does not lock")
	}
}

func memory(tasks int) {
	never := make(chan struct{})
	waiting := 0
	before := memoryKiB()
	start := cpu()
	for i := 0; i < tasks; i++ {
		go func() {
			waiting++ // one processor, and nothing preempts this
			<-never
		}()
	}
	for waiting < tasks {
		runtime.Gosched()
	}
	spent := cpu() - start
	held := memoryKiB() - before
	print("idle_bytes", tasks, float64(held)*1024/float64(tasks))
	print("create", tasks, float64(spent)/float64(tasks))
	close(never)
}

// timersStart makes timers due delay to delay + spread from now.
func timersStart(all []*time.Timer, delay, spread time.Duration, fire func()) int64 {
	state := uint64(1)
	start := cpu()
	for i := range all {
		due := delay + time.Duration(random(&state)%uint64(spread))
		all[i] = time.AfterFunc(due, fire)
	}
	return cpu() - start
}

func timersStop(all []*time.Timer) int64 {
	start := cpu()
	for _, timer := range all {
		timer.Stop()
	}
	return cpu() - start
}

func timers(count int) {
	all := make([]*time.Timer, count)
	each := func(spent int64) float64 { return float64(spent) / float64(count) }
	never := func() { panic("a stopped timer ran") }
	var fired sync.WaitGroup

	timersStart(all, timerFar, timerFar, never)
	timersStop(all)
	print("timer_insert", count, each(timersStart(all, timerFar, timerFar, never)))
	print("timer_cancel", count, each(timersStop(all)))

	fired.Add(count)
	timersStart(all, timerSoon, timerSpread, fired.Done)
	start := cpu()
	fired.Wait()
	print("timer_fire", count, each(cpu()-start))
}
