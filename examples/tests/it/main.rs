//! Runs the programs of the gallery as a reader would, and checks what they print.
#![forbid(unsafe_code)]

mod primes;
mod support;
