//! peer_tokio - Tokio's answers, on its current-thread runtime.
//!
//! SPDX-License-Identifier: MIT
//!
//! `peer_tokio question [size]` prints `metric<TAB>value` lines as the C
//! programs do, and exits with 64 where it has no answer. The questions are
//! explained in the C files of the same name.

mod clock;
mod tasks;
mod threads;
mod timers;

use clock::NO_ANSWER;
use std::io::Write;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ECHO_BUFFER: usize = 65536;

async fn echo_serve(mut stream: TcpStream) {
    let mut buffer = vec![0; ECHO_BUFFER];

    // An error is a connection that broke: the load says why.
    while let Ok(size) = stream.read(&mut buffer).await {
        if size == 0 || stream.write_all(&buffer[..size]).await.is_err() {
            return;
        }
    }
}

async fn echo() -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;

    println!("port\t{}", listener.local_addr()?.port());
    std::io::stdout().flush()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(echo_serve(stream));
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let question = arguments.next().unwrap_or_default();
    let size: usize = match arguments.next() {
        Some(text) => text.parse().expect("sizes are positive numbers"),
        None => 1,
    };
    let runtime = threads::runtime();

    runtime.block_on(async {
        match question.as_str() {
            "yield" => tasks::yields(size).await,
            "spawn" => tasks::spawns(size).await,
            "queue" => tasks::queue(size).await,
            "lock" => tasks::lock().await,
            "memory" => tasks::memory(size).await,
            "timers" => timers::timers(size).await,
            "executor" => threads::executor().await,
            "wake" => threads::wake().await,
            "echo" => echo().await.expect("the loopback interface works"),
            _ => std::process::exit(NO_ANSWER),
        }
    });
    // What is left would only be freed, a million tasks one by one.
    std::process::exit(0);
}
