//! Across threads: the executor's round trip, the wake-up of another loop.
//!
//! SPDX-License-Identifier: MIT

use crate::clock;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;

const ROUNDS: usize = 10_000;

pub fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made")
}

fn print(metric: &str, cpu: i64, wall: i64) {
    let each = |spent: i64| spent as f64 / ROUNDS as f64;

    clock::print(metric, 1, each(clock::cpu() - cpu));
    clock::print(&format!("{metric}_wall"), 1, each(clock::wall() - wall));
}

pub async fn executor() {
    spawn_blocking(|| ()).await.expect("no job panics");
    let (cpu, wall) = (clock::cpu(), clock::wall());

    for _ in 0..ROUNDS {
        spawn_blocking(|| ()).await.expect("no job panics");
    }
    print("executor", cpu, wall);
}

pub async fn wake() {
    let ping = Arc::new(Notify::new());
    let pong = Arc::new(Notify::new());
    let (other_ping, other_pong) = (ping.clone(), pong.clone());
    let (cpu, wall) = (clock::cpu(), clock::wall());
    let thread = std::thread::spawn(move || {
        runtime().block_on(async {
            for _ in 0..ROUNDS {
                other_ping.notified().await;
                other_pong.notify_one();
            }
        });
    });

    for _ in 0..ROUNDS {
        ping.notify_one();
        pong.notified().await;
    }
    print("wake", cpu, wall);
    thread.join().expect("the thread does not panic");
}
