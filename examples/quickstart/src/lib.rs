//! Compiles what the README of the project shows, so that it stays true.

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
