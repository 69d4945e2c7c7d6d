//! What must not compile: each file in `compile_fail/` shows ways in which a secret could get out.

#[test]
fn secrets_stay_in() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
