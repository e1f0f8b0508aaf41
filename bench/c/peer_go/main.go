// peer_go - Go's answers, on one processor of its scheduler.
//
// SPDX-License-Identifier: MIT
//
// `peer_go question [size]` prints `metric<TAB>value` lines as the C programs
// do, and exits with 64 where it has no answer. The questions are explained in
// the C files of the same name.
package main

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
)

const (
	noAnswer   = 64
	echoBuffer = 65536
)

// fail ends the program; there is nothing to measure any more.
func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func echoServe(conn net.Conn) {
	buffer := make([]byte, echoBuffer)
	defer conn.Close()
	for {
		size, err := conn.Read(buffer)
		if err != nil {
			return // the load ended, or gave up and said why
		}
		if _, err := conn.Write(buffer[:size]); err != nil {
			return
		}
	}
}

func echo(int) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fail(err)
	}
	fmt.Printf("port\t%d\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if err != nil {
			fail(err)
		}
		go echoServe(conn)
	}
}

func main() {
	answers := map[string]func(int){
		"yield":  yields,
		"spawn":  spawns,
		"queue":  queue,
		"lock":   lock,
		"memory": memory,
		"timers": timers,
		"echo":   echo,
	}
	size := 1
	if len(os.Args) > 2 {
		var err error
		if size, err = strconv.Atoi(os.Args[2]); err != nil || size <= 0 {
			fail(fmt.Errorf("sizes are positive numbers: %s", os.Args[2]))
		}
	}
	if len(os.Args) < 2 || answers[os.Args[1]] == nil {
		os.Exit(noAnswer)
	}
	runtime.GOMAXPROCS(1)
	answers[os.Args[1]](size)
}
