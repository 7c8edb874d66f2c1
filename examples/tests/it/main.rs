//! Runs the programs of the gallery as a reader would, and checks what they print.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod both_ways;
mod coroutines;
mod distributed;
mod downloads;
mod filters;
mod hasher;
mod hybrid;
mod networks;
mod primes;
mod sharing;
mod sum;
mod thumbnails;
mod titles;
mod wordcount;
mod wrapping;
