//! Tasks among themselves: yield, spawn, queue, lock, memory.
//!
//! SPDX-License-Identifier: MIT

use crate::clock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use tokio::sync::{mpsc, Mutex};
use tokio::task::yield_now;

const SWITCHES: usize = 2_000_000;
const SPAWNS: usize = 1_000_000;
const ITEMS: usize = 2_000_000;
const LOCKS: usize = 1_000_000;

async fn yield_run(tasks: usize, rounds: usize) -> i64 {
    let handles: Vec<_> = (0..tasks)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..rounds {
                    yield_now().await;
                }
            })
        })
        .collect();
    let start = clock::cpu();

    for handle in handles {
        handle.await.expect("no task panics");
    }
    clock::cpu() - start
}

pub async fn yields(tasks: usize) {
    let rounds = SWITCHES / tasks;

    yield_run(tasks, 2).await;
    let spent = yield_run(tasks, rounds).await;
    clock::print("yield", tasks, spent as f64 / (tasks * rounds) as f64);
}

async fn spawn_run(batch: usize, total: usize) {
    let mut handles = Vec::with_capacity(batch);

    for _ in 0..total / batch {
        for _ in 0..batch {
            handles.push(tokio::spawn(async {}));
        }
        for handle in handles.drain(..) {
            handle.await.expect("no task panics");
        }
    }
}

pub async fn spawns(batch: usize) {
    spawn_run(batch, batch).await;
    let start = clock::cpu();
    spawn_run(batch, SPAWNS).await;
    clock::print_since("spawn", batch, start, SPAWNS);
}

pub async fn queue(capacity: usize) {
    let (sender, mut receiver) = mpsc::channel::<u64>(capacity);
    let start = clock::cpu();
    let producer = tokio::spawn(async move {
        for i in 0..ITEMS as u64 {
            sender.send(i).await.expect("the receiver is there");
        }
    });
    let consumer = tokio::spawn(async move {
        let mut sum = 0;
        while let Some(item) = receiver.recv().await {
            sum += item;
        }
        sum
    });

    producer.await.expect("no task panics");
    let sum = consumer.await.expect("no task panics");
    clock::print_since("queue", capacity, start, ITEMS);
    assert_eq!(sum, (ITEMS as u64 - 1) * ITEMS as u64 / 2);
}

async fn lock_contended(lock: Arc<Mutex<usize>>) {
    for _ in 0..LOCKS / 2 {
        let mut count = lock.lock().await;
        yield_now().await;
        *count += 1;
    }
}

pub async fn lock() {
    let lock = Arc::new(Mutex::new(0));
    let start = clock::cpu();

    for _ in 0..LOCKS {
        *lock.lock().await += 1;
    }
    clock::print_since("lock_free", 1, start, LOCKS);

    let start = clock::cpu();
    let one = tokio::spawn(lock_contended(lock.clone()));
    let two = tokio::spawn(lock_contended(lock.clone()));
    one.await.expect("no task panics");
    two.await.expect("no task panics");
    clock::print_since("lock_handover", 2, start, LOCKS);
    assert_eq!(*lock.lock().await, 2 * LOCKS);
}

static WAITING: AtomicUsize = AtomicUsize::new(0);

pub async fn memory(tasks: usize) {
    let before = clock::memory_kib();
    let start = clock::cpu();

    for _ in 0..tasks {
        drop(tokio::spawn(async {
            WAITING.fetch_add(1, Relaxed);
            std::future::pending::<()>().await;
        }));
    }
    while WAITING.load(Relaxed) < tasks {
        yield_now().await;
    }
    let spent = clock::cpu() - start;
    let held = clock::memory_kib() - before;
    clock::print("idle_bytes", tasks, held as f64 * 1024.0 / tasks as f64);
    clock::print("create", tasks, spent as f64 / tasks as f64);
}
