//! The behaviours that the types have in every scope.
//!
//! The tests are written for the scope that is called `scope` where a macro stands; `made` there takes what
//! a constructor gives.

mod data;
mod locks;
mod meetings;
mod queues;
mod tables;

pub(crate) use data::data;
pub(crate) use locks::locks;
pub(crate) use meetings::meetings;
pub(crate) use queues::queues;
pub(crate) use tables::tables;
