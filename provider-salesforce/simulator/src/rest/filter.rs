//! Which rows match a condition, and in which order.

use std::cmp::Ordering;

use serde_json::Value;

use crate::ids::to_15;
use crate::rest::records::{OrgData, Record};
use crate::rest::schema::{Kind, OBJECTS};
use crate::rest::soql::{Column, Condition, Literal, Operator, Order, Query};

impl OrgData {
    /// The rows of a query, after condition, order, offset and limit.
    pub(crate) fn find(&self, query: &Query, with_deleted: bool) -> Vec<usize> {
        let Some(table) = self.tables.get(query.object) else {
            return Vec::new();
        };
        let wanted = query.limit.unwrap_or(usize::MAX);
        if let Some(row) = query
            .condition
            .as_ref()
            .and_then(named_id)
            .and_then(|id| table.row(id))
        {
            let kept = table
                .rows
                .get(row)
                .is_some_and(|record| with_deleted || !record.deleted);
            return if kept && query.offset == 0 && wanted > 0 {
                vec![row]
            } else {
                Vec::new()
            };
        }
        let found = table.rows.iter().enumerate().filter(|(_, record)| {
            (with_deleted || !record.deleted)
                && query
                    .condition
                    .as_ref()
                    .is_none_or(|condition| self.keeps(query.object, record, condition))
        });
        if query.order.is_empty() {
            return found
                .map(|(row, _)| row)
                .skip(query.offset)
                .take(wanted)
                .collect();
        }
        let mut found: Vec<(usize, &Record)> = found.collect();
        found.sort_by(|(_, left), (_, right)| self.compare_rows(left, right, &query.order));
        found
            .into_iter()
            .map(|(row, _)| row)
            .skip(query.offset)
            .take(wanted)
            .collect()
    }

    /// The value of a column, looked up if it is a parent's.
    pub(crate) fn value<'a>(&'a self, record: &'a Record, column: &Column) -> &'a Value {
        match column.parent {
            None => record.values.get(column.field),
            Some((reference, target, _)) => self
                .parent(record, reference, target)
                .and_then(|parent| parent.values.get(column.field)),
        }
        .unwrap_or(&Value::Null)
    }

    /// The record that a reference field points at.
    pub(crate) fn parent(&self, record: &Record, reference: usize, target: usize) -> Option<&Record> {
        let id = record.values.get(reference)?.as_str()?;
        let table = self.tables.get(target)?;
        table.rows.get(table.row(id.get(..15)?)?)
    }

    fn keeps(&self, object: usize, record: &Record, condition: &Condition) -> bool {
        match condition {
            Condition::And(parts) => parts.iter().all(|part| self.keeps(object, record, part)),
            Condition::Or(parts) => parts.iter().any(|part| self.keeps(object, record, part)),
            Condition::Not(inner) => !self.keeps(object, record, inner),
            Condition::Compare(column, operator, literal) => holds(
                self.value(record, column),
                kind(object, column),
                *operator,
                literal,
            ),
            Condition::In(column, literals) => {
                let (value, kind) = (self.value(record, column), kind(object, column));
                literals
                    .iter()
                    .any(|literal| holds(value, kind, Operator::Equal, literal))
            }
        }
    }

    fn compare_rows(&self, left: &Record, right: &Record, order: &[Order]) -> Ordering {
        order
            .iter()
            .map(|by| {
                let (left, right) = (self.value(left, &by.column), self.value(right, &by.column));
                match (left.is_null(), right.is_null()) {
                    (true, true) => Ordering::Equal,
                    (true, false) if by.nulls_last => Ordering::Greater,
                    (true, false) => Ordering::Less,
                    (false, true) if by.nulls_last => Ordering::Less,
                    (false, true) => Ordering::Greater,
                    (false, false) if by.descending => compare(right, left),
                    (false, false) => compare(left, right),
                }
            })
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// The id in a condition that is just `Id = '…'`.
fn named_id(condition: &Condition) -> Option<&str> {
    match condition {
        Condition::Compare(
            Column {
                parent: None,
                field: 0,
            },
            Operator::Equal,
            Literal::Text(id),
        ) => to_15(id),
        _ => None,
    }
}

fn kind(object: usize, column: &Column) -> Kind {
    let object = column.parent.map_or(object, |(_, target, _)| target);
    let field = OBJECTS
        .get(object)
        .and_then(|object| object.fields.get(column.field));
    field.map_or(Kind::Text(0), |field| field.kind)
}

fn compare(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left
            .as_f64()
            .partial_cmp(&right.as_f64())
            .unwrap_or(Ordering::Equal),
        (Value::Bool(left), Value::Bool(right)) => left.cmp(right),
        (Value::String(left), Value::String(right)) => caseless(left, right),
        _ => Ordering::Equal,
    }
}

fn caseless(left: &str, right: &str) -> Ordering {
    let lower = |text: &'_ str| text.chars().flat_map(char::to_lowercase).collect::<String>();
    if left.is_ascii() && right.is_ascii() {
        let bytes = |text: &'_ str| {
            text.bytes()
                .map(|byte| byte.to_ascii_lowercase())
                .collect::<Vec<_>>()
        };
        return bytes(left).cmp(&bytes(right));
    }
    lower(left).cmp(&lower(right))
}

fn holds(value: &Value, kind: Kind, operator: Operator, literal: &Literal) -> bool {
    let ordering = match (value, literal) {
        (Value::Null, Literal::Null) => Some(Ordering::Equal),
        (Value::Number(number), Literal::Number(other)) => {
            number.as_f64().and_then(|number| number.partial_cmp(other))
        }
        (Value::Bool(value), Literal::Bool(other)) => Some(value.cmp(other)),
        (Value::String(text), Literal::Text(other)) => {
            if operator == Operator::Like {
                return like(text, other);
            }
            if matches!(kind, Kind::Id | Kind::Reference(..)) {
                return same_id(text, other) == (operator == Operator::Equal);
            }
            Some(caseless(text, other))
        }
        (Value::String(text), Literal::Time(other)) if kind == Kind::Date => {
            Some(text.as_str().cmp(other.get(..10).unwrap_or(other)))
        }
        (Value::String(text), Literal::Time(other)) => Some(text.as_str().cmp(other)),
        _ => None,
    };
    match (operator, ordering) {
        (Operator::Equal, Some(ordering)) => ordering.is_eq(),
        (Operator::NotEqual, ordering) => ordering.is_none_or(Ordering::is_ne),
        (Operator::Less, Some(ordering)) => ordering.is_lt(),
        (Operator::LessOrEqual, Some(ordering)) => ordering.is_le(),
        (Operator::Greater, Some(ordering)) => ordering.is_gt(),
        (Operator::GreaterOrEqual, Some(ordering)) => ordering.is_ge(),
        _ => false,
    }
}

fn same_id(left: &str, right: &str) -> bool {
    left.get(..15)
        .is_some_and(|left| right.len() >= 15 && right.get(..15) == Some(left))
}

/// `%` matches any text, `_` any character; a backslash escapes them.
fn like(text: &str, pattern: &str) -> bool {
    let lower = |text: &str| text.chars().flat_map(char::to_lowercase).collect::<Vec<char>>();
    matches(&lower(text), &lower(pattern))
}

fn matches(text: &[char], pattern: &[char]) -> bool {
    let (mut at, mut place) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let (plain, width) = match (pattern.get(place), pattern.get(place + 1)) {
            (Some('%'), _) => {
                star = Some((place + 1, at));
                place += 1;
                continue;
            }
            (Some('\\'), Some(escaped)) => (Some(Some(*escaped)), 2),
            (Some('_'), _) => (Some(None), 1),
            (Some(other), _) => (Some(Some(*other)), 1),
            (None, _) => (None, 0),
        };
        match (plain, text.get(at)) {
            (None, None) => return true,
            (Some(None), Some(_)) => {
                at += 1;
                place += width;
            }
            (Some(Some(wanted)), Some(found)) if wanted == *found => {
                at += 1;
                place += width;
            }
            _ => match star {
                Some((after, tried)) if tried < text.len() => {
                    star = Some((after, tried + 1));
                    (at, place) = (tried + 1, after);
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_knows_its_wildcards() {
        assert!(like("Edge Electronics", "edge%"));
        assert!(like("Edge Electronics", "%tron%"));
        assert!(like("abc", "a_c") && !like("abbc", "a_c"));
        assert!(like("50%", "50\\%") && !like("505", "50\\%"));
        assert!(!like("abc", "ab") && !like("ab", "abc") && like("", "%"));
    }

    #[test]
    fn nulls_compare_as_in_soql() {
        let text = |operator, literal: &Literal| holds(&Value::Null, Kind::Text(9), operator, literal);
        assert!(text(Operator::Equal, &Literal::Null));
        assert!(!text(Operator::NotEqual, &Literal::Null));
        assert!(text(Operator::NotEqual, &Literal::Text("x".into())));
        assert!(!text(Operator::Less, &Literal::Text("x".into())));
    }
}
