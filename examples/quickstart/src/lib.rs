//! Compiles the code in the project's README, so that it stays correct.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
