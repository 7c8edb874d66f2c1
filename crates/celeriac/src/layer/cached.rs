//! Remembers what calls gave.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Callable;

/// A function that is not called again for an argument it was given lately: Python's `lru_cache`.
///
/// Holds what the last `capacity` distinct arguments gave, and forgets the one longest unused. The
/// function runs without the lock, so it may call itself through the cache, and threads that ask
/// for the same new argument at the same time may each call it. Errors are values too, and kept.
#[derive(Debug)]
pub struct Cached<C, A, V> {
    inner: C,
    capacity: usize,
    memory: Mutex<Memory<A, V>>,
}

/// What a cache did so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheInfo {
    /// Calls answered from memory.
    pub hits: u64,
    /// Calls passed on.
    pub misses: u64,
    /// Answers held.
    pub len: usize,
}

#[derive(Debug)]
struct Memory<A, V> {
    /// Each answer, and when it was last used.
    answers: BTreeMap<A, (V, u64)>,
    /// The same arguments by that time, oldest first.
    by_use: BTreeMap<u64, A>,
    /// Counts the uses: the time.
    now: u64,
    hits: u64,
    misses: u64,
}

impl<C, A, V> Cached<C, A, V> {
    /// Wraps `inner`. Being `const`, it also makes a `static`.
    pub const fn new(inner: C, capacity: usize) -> Self {
        let memory = Memory {
            answers: BTreeMap::new(),
            by_use: BTreeMap::new(),
            now: 0,
            hits: 0,
            misses: 0,
        };
        Self {
            inner,
            capacity,
            memory: Mutex::new(memory),
        }
    }

    /// What it did so far.
    pub fn info(&self) -> CacheInfo {
        let memory = self.lock();
        CacheInfo {
            hits: memory.hits,
            misses: memory.misses,
            len: memory.answers.len(),
        }
    }

    /// What is wrapped.
    pub const fn inner(&self) -> &C {
        &self.inner
    }

    /// Takes the layer off, and forgets what it held.
    pub fn into_inner(self) -> C {
        self.inner
    }

    fn lock(&self) -> MutexGuard<'_, Memory<A, V>> {
        // What a caller's `clone` may panic in leaves the memory whole.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C, A, V> Callable<A> for Cached<C, A, V>
where
    C: Callable<A, Output = V>,
    A: Ord + Clone,
    V: Clone,
{
    type Output = V;

    fn call(&self, argument: A) -> V {
        if let Some(answer) = self.lock().recall(&argument) {
            return answer;
        }
        let answer = self.inner.call(argument.clone());
        self.lock().keep(argument, answer.clone(), self.capacity);
        answer
    }
}

impl<A: Ord + Clone, V: Clone> Memory<A, V> {
    fn recall(&mut self, argument: &A) -> Option<V> {
        let Some((answer, used)) = self.answers.get_mut(argument) else {
            self.misses += 1;
            return None;
        };
        self.hits += 1;
        self.now += 1;
        let argument = self.by_use.remove(used).expect("every answer has its use");
        *used = self.now;
        self.by_use.insert(self.now, argument);
        Some(answer.clone())
    }

    fn keep(&mut self, argument: A, answer: V, capacity: usize) {
        if capacity == 0 {
            return;
        }
        self.now += 1;
        if let Some((_, used)) = self.answers.insert(argument.clone(), (answer, self.now)) {
            // Another thread was as fast.
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.now, argument);
        if self.answers.len() > capacity
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.answers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;

    #[test]
    fn an_answer_is_given_again_without_a_call() {
        let calls = AtomicU32::new(0);
        let square = |n: u32| {
            calls.fetch_add(1, Ordering::Relaxed);
            n * n
        };
        let cached = square.cached(2);
        assert_eq!([3, 3, 4, 3].map(|n| cached.call(n)), [9, 9, 16, 9]);
        assert_eq!(calls.load(Ordering::Relaxed), 2);
        assert_eq!(
            cached.info(),
            CacheInfo {
                hits: 2,
                misses: 2,
                len: 2
            }
        );

        cached.into_inner()(3);
        assert_eq!(
            calls.load(Ordering::Relaxed),
            3,
            "the bare function is called"
        );
    }

    #[test]
    fn the_answer_longest_unused_is_forgotten() {
        let cached = (|n: u32| n).cached(2);
        for n in [1, 2, 1, 3] {
            cached.call(n);
        }
        let hits = cached.info().hits;
        cached.call(1);
        assert_eq!(cached.info().hits, hits + 1, "1 was used after 2");
        cached.call(2);
        assert_eq!(
            cached.info(),
            CacheInfo {
                hits: hits + 1,
                misses: 4,
                len: 2
            }
        );
    }

    #[test]
    fn without_capacity_nothing_is_held() {
        let cached = (|n: u32| n).cached(0);
        cached.call(1);
        cached.call(1);
        assert_eq!(
            cached.info(),
            CacheInfo {
                hits: 0,
                misses: 2,
                len: 0
            }
        );
    }

    #[test]
    fn a_function_may_call_itself_through_its_cache() {
        static FACTORIAL: Cached<fn(u64) -> u64, u64, u64> = Cached::new(factorial, 32);

        fn factorial(n: u64) -> u64 {
            if n == 0 { 1 } else { n * FACTORIAL.call(n - 1) }
        }
        assert_eq!(FACTORIAL.call(10), 3_628_800);
        assert_eq!(FACTORIAL.call(11), 39_916_800);
        assert_eq!(
            FACTORIAL.info(),
            CacheInfo {
                hits: 1,
                misses: 12,
                len: 12
            }
        );
    }

    #[test]
    fn threads_share_one_memory() {
        let cached = (|n: u64| n + 1).cached(8);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|i| assert_eq!(cached.call(i % 16), i % 16 + 1)));
            }
        });
        let info = cached.info();
        assert_eq!((info.hits + info.misses, info.len), (4000, 8));
        let memory = cached.lock();
        assert_eq!(memory.by_use.len(), memory.answers.len());
    }
}
