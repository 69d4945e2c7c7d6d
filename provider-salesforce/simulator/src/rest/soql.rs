//! The part of SOQL that the simulator understands: one object, simple conditions, order, limit, offset.

/// A field of the object, or of a parent one relationship away.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The reference field to the parent, the parent's object, and the relationship as the schema writes it.
    pub(crate) parent: Option<(usize, usize, &'static str)>,
    pub(crate) field: usize,
}

/// What is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Selection {
    Columns(Vec<Column>),
    /// `COUNT()`: only the number of rows.
    Count,
    /// `COUNT(Id)`: one row that holds the number of rows.
    CountOf,
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Like,
}

/// A value in a condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    Time(String),
}

/// A condition.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Not(Box<Condition>),
    Compare(Column, Operator, Literal),
    In(Column, Vec<Literal>),
}

/// One column to order by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) column: Column,
    pub(crate) descending: bool,
    pub(crate) nulls_last: bool,
}

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) object: usize,
    pub(crate) selection: Selection,
    pub(crate) condition: Option<Condition>,
    pub(crate) order: Vec<Order>,
    pub(crate) limit: Option<usize>,
    pub(crate) offset: usize,
}
