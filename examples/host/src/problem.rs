//! Errors of the host.

/// An error, worded for the operator.
pub(crate) type Problem = Box<dyn std::error::Error>;

/// An error and what led to it, such as a disk that is full.
pub(crate) fn with_causes(problem: &dyn std::error::Error) -> String {
    let causes = grantry::error::causes(problem);
    let colon = if causes.is_empty() { "" } else { ": " };
    format!("{problem}{colon}{causes}")
}
