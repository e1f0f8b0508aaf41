//! Clocks, memory and output: what bench.h is to the C programs.
//!
//! SPDX-License-Identifier: MIT

pub const NO_ANSWER: i32 = 64;

fn clock(id: libc::clockid_t) -> i64 {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };

    // SAFETY: `now` is valid for writing, and the ids below exist.
    unsafe { libc::clock_gettime(id, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// CPU time of this process, all threads, nanoseconds.
pub fn cpu() -> i64 {
    clock(libc::CLOCK_PROCESS_CPUTIME_ID)
}

pub fn wall() -> i64 {
    clock(libc::CLOCK_MONOTONIC)
}

pub fn print(metric: &str, size: usize, value: f64) {
    println!("{metric}@{size}\t{value:.2}");
}

/// Prints nanoseconds of CPU time since `start` for each of `count`.
pub fn print_since(metric: &str, size: usize, start: i64, count: usize) {
    print(metric, size, (cpu() - start) as f64 / count as f64);
}

/// xorshift64, as bench_random() in C.
pub fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Resident pages and page tables of this process, KiB.
pub fn memory_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a /proc");

    status
        .lines()
        .filter(|line| line.starts_with("VmRSS:") || line.starts_with("VmPTE:"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<i64>().ok())
        .sum()
}
