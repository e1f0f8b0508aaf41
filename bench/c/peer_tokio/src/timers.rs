//! Timers: futures that sleep, registered by their first poll.
//!
//! SPDX-License-Identifier: MIT
//!
//! Tokio's timers have a resolution of one millisecond and fire in no order.

use crate::clock;
use std::future::{poll_fn, Future};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{sleep_until, Instant, Sleep};

const FAR: u64 = 30_000_000_000;
const SPREAD: u64 = 100_000_000;

type Timers = Vec<Pin<Box<Sleep>>>;

/// Makes and registers timers due `delay` to twice `delay` from now.
async fn start(timers: &mut Timers, count: usize, delay: u64) -> i64 {
    let start = clock::cpu();
    let now = Instant::now();
    let mut random = 1;

    poll_fn(|context| {
        for _ in 0..count {
            let due = delay + clock::random(&mut random) % delay;
            let mut timer = Box::pin(sleep_until(now + Duration::from_nanos(due)));
            // Whether it is due does not matter yet.
            let _ = timer.as_mut().poll(context);
            timers.push(timer);
        }
        Poll::Ready(())
    })
    .await;
    clock::cpu() - start
}

pub async fn timers(count: usize) {
    let mut timers = Timers::with_capacity(count);
    let each = |spent: i64| spent as f64 / count as f64;

    start(&mut timers, count, FAR).await;
    timers.clear();
    let spent = start(&mut timers, count, FAR).await;
    clock::print("timer_insert", count, each(spent));
    let before = clock::cpu();
    timers.clear();
    clock::print("timer_cancel", count, each(clock::cpu() - before));

    start(&mut timers, count, SPREAD).await;
    std::thread::sleep(Duration::from_nanos(3 * SPREAD));
    let before = clock::cpu();
    for timer in &mut timers {
        timer.await;
    }
    clock::print("timer_fire", count, each(clock::cpu() - before));
}
