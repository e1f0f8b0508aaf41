package main

// Clocks, memory and output: what bench.h is to the C programs.
//
// SPDX-License-Identifier: MIT

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// cpu is the CPU time of this process, all threads, in nanoseconds. Go's
// standard library has getrusage only, which counts microseconds.
func cpu() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		fail(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func print(metric string, size int, value float64) {
	fmt.Printf("%s@%d\t%.2f\n", metric, size, value)
}

// printSince prints nanoseconds of CPU time since start for each of count.
func printSince(metric string, size int, start int64, count int) {
	print(metric, size, float64(cpu()-start)/float64(count))
}

// random is xorshift64, as bench_random() in C.
func random(state *uint64) uint64 {
	*state ^= *state << 13
	*state ^= *state >> 7
	*state ^= *state << 17
	return *state
}

// memoryKiB is the resident pages and the page tables of this process.
func memoryKiB() int {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		fail(err)
	}
	total := 0
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 1 && (fields[0] == "VmRSS:" || fields[0] == "VmPTE:") {
			kib, err := strconv.Atoi(fields[1])
			if err != nil {
				fail(err)
			}
			total += kib
		}
	}
	return total
}
