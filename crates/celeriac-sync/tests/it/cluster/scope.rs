//! What the suite calls the scope: the types of a cluster, made at the place of the test, with queries that
//! fail with the test.

macro_rules! wrapped {
    ($($name:ident [$($param:ident: $bound:path),*] {$($query:ident -> $gives:ty),*})*) => {
        $(
            #[derive(Debug)]
            pub(crate) struct $name<$($param: $bound),*>(pub(crate) cluster::$name<$($param),*>);

            impl<$($param: $bound),*> Clone for $name<$($param),*> {
                fn clone(&self) -> Self {
                    Self(self.0.clone())
                }
            }

            impl<$($param: $bound),*> std::ops::Deref for $name<$($param),*> {
                type Target = cluster::$name<$($param),*>;

                fn deref(&self) -> &Self::Target {
                    &self.0
                }
            }

            impl<$($param: $bound),*> $name<$($param),*> {
                $(pub(crate) fn $query(&self) -> $gives {
                    self.0.$query().unwrap()
                })*
            }
        )*
    };
}
pub(crate) use wrapped;

macro_rules! made_at {
    ($place:path; $($name:ident [$($param:ident: $bound:path),*] $make:ident = $make_in:ident ($($arg:ident: $kind:ty)?);)*) => {
        $(impl<$($param: $bound),*> $name<$($param),*> {
            pub(crate) fn $make($($arg: $kind)?) -> Self {
                Self(cluster::$name::$make_in(&$place() $(, $arg)?).unwrap())
            }
        })*
    };
}
pub(crate) use made_at;

/// Writes the module `scope` for a place.
macro_rules! types {
    ($place:path) => {
        #[allow(dead_code, reason = "the suite does not ask everything of every type")]
        mod scope {
            use celeriac_sync::cluster::{self, Shareable};

            $crate::cluster::scope::wrapped! {
                Lock[] { is_locked -> bool }
                RLock[] {}
                Semaphore[] { value -> usize }
                BoundedSemaphore[] { value -> usize }
                Event[] { is_set -> bool, set -> (), clear -> () }
                Condition[] { notify_one -> (), notify_all -> () }
                Barrier[] { waiting -> usize, is_broken -> bool, abort -> (), reset -> () }
                Value[T: Shareable] {}
                Array[T: Shareable] {}
                Dict[K: cluster::Key, V: Shareable] {}
                List[T: Shareable] {}
                Queue[T: Shareable] { len -> usize, close -> () }
                LifoQueue[T: Shareable] { len -> usize }
                PriorityQueue[T: cluster::Ranked] { len -> usize }
            }

            $crate::cluster::scope::made_at! { $place;
                Lock[] new = new_in();
                RLock[] new = new_in();
                Semaphore[] new = new_in(permits: usize);
                BoundedSemaphore[] new = new_in(permits: usize);
                Event[] new = new_in();
                Condition[] new = new_in();
                Barrier[] new = new_in(parties: usize);
                Value[T: Shareable] new = new_in(value: T);
                Array[T: Shareable] new = new_in(items: impl Into<Box<[T]>>);
                Dict[K: cluster::Key, V: Shareable] new = new_in();
                List[T: Shareable] new = new_in();
                Queue[T: Shareable] bounded = bounded_in(capacity: usize);
                Queue[T: Shareable] unbounded = unbounded_in();
                LifoQueue[T: Shareable] unbounded = unbounded_in();
                PriorityQueue[T: cluster::Ranked] unbounded = unbounded_in();
            }

            pub(crate) fn pipe<T: Shareable>() -> (cluster::Pipe<T>, cluster::Pipe<T>) {
                cluster::pipe_in(&$place()).unwrap()
            }
        }

        fn made<T>(made: T) -> T {
            made
        }
    };
}
pub(crate) use types;

/// Runs the suite at a place.
macro_rules! scope {
    ($place:path) => {
        $crate::cluster::scope::types!($place);
        $crate::suite::locks!();
        $crate::suite::meetings!();
        $crate::suite::data!();
        $crate::suite::queues!();
        $crate::suite::tables!();
    };
}
pub(crate) use scope;
