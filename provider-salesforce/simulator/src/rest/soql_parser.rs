//! Parses SOQL queries.

use crate::rest::RestError;
use crate::rest::schema::{OBJECTS, index};
use crate::rest::soql::{Column, Condition, Literal, Operator, Order, Query, Selection};
use crate::rest::soql_lexer::{Placed, Token, error_at, tokens};

/// Parses a query.
pub(crate) fn parse(text: &str) -> Result<Query, RestError> {
    let mut parser = Parser {
        text,
        tokens: tokens(text)?,
        next: 0,
        object: 0,
    };
    parser.query()
}

struct Parser<'t> {
    text: &'t str,
    tokens: Vec<Placed>,
    next: usize,
    object: usize,
}

impl Parser<'_> {
    fn query(&mut self) -> Result<Query, RestError> {
        self.expect_word("SELECT")?;
        let selected = self.selected()?;
        self.expect_word("FROM")?;
        let at = self.at();
        let name = self.word()?;
        self.object = index(&name).ok_or_else(|| {
            let text = format!(
                "sObject type '{name}' is not supported. If you are attempting to use a custom object, be sure to \
                 append the '__c' after the entity name."
            );
            error_at(self.text, at, "INVALID_TYPE", &text)
        })?;
        let selection = self.selection(&selected)?;
        let condition = if self.take_word("WHERE") {
            Some(self.any_of()?)
        } else {
            None
        };
        let mut order = Vec::new();
        if self.take_word("ORDER") {
            self.expect_word("BY")?;
            order.push(self.order()?);
            while self.take_sign(",") {
                order.push(self.order()?);
            }
        }
        let limit = if self.take_word("LIMIT") {
            Some(self.count()?)
        } else {
            None
        };
        let offset = if self.take_word("OFFSET") {
            self.count()?
        } else {
            0
        };
        if offset > 2000 {
            let text = "Maximum SOQL offset allowed is 2000";
            return Err(RestError::bad_request(
                "NUMBER_OUTSIDE_VALID_RANGE",
                text.to_owned(),
            ));
        }
        if self.take_word("ALL") {
            self.expect_word("ROWS")?;
        }
        if self.next < self.tokens.len() {
            return Err(self.unexpected());
        }
        Ok(Query {
            object: self.object,
            selection,
            condition,
            order,
            limit,
            offset,
        })
    }

    /// The selected names, with their positions; resolved once the object is known.
    fn selected(&mut self) -> Result<Vec<(String, usize)>, RestError> {
        let mut names = Vec::new();
        loop {
            let at = self.at();
            let mut name = self.word()?;
            if self.take_sign("(") {
                name.push('(');
                if !self.take_sign(")") {
                    name.push_str(&self.word()?);
                    self.expect_sign(")")?;
                }
                name.push(')');
            }
            names.push((name, at));
            if !self.take_sign(",") {
                return Ok(names);
            }
        }
    }

    fn selection(&self, selected: &[(String, usize)]) -> Result<Selection, RestError> {
        if let [(only, at)] = selected {
            let call = only.to_ascii_uppercase();
            if call == "COUNT()" {
                return Ok(Selection::Count);
            }
            if let Some(name) = call
                .strip_prefix("COUNT(")
                .and_then(|rest| rest.strip_suffix(')'))
            {
                self.column(name, *at)?;
                return Ok(Selection::CountOf);
            }
        }
        let mut columns = Vec::with_capacity(selected.len());
        for (name, at) in selected {
            if name.eq_ignore_ascii_case("FIELDS(ALL)") || name.eq_ignore_ascii_case("FIELDS(STANDARD)") {
                let all = (0..OBJECTS[self.object].fields.len()).map(|field| Column { parent: None, field });
                columns.extend(all);
            } else {
                columns.push(self.column(name, *at)?);
            }
        }
        Ok(Selection::Columns(columns))
    }

    fn column(&self, name: &str, at: usize) -> Result<Column, RestError> {
        let object = &OBJECTS[self.object];
        let missing = |column: &str, entity: &str| {
            let text = format!(
                "No such column '{column}' on entity '{entity}'. If you are attempting to use a custom field, be sure \
                 to append the '__c' after the custom field name. Please reference your WSDL or the describe call for \
                 the appropriate names."
            );
            error_at(self.text, at, "INVALID_FIELD", &text)
        };
        match name.split_once('.') {
            None => {
                let field = object.field(name).ok_or_else(|| missing(name, object.name))?;
                Ok(Column { parent: None, field })
            }
            Some((own, field)) if own.eq_ignore_ascii_case(object.name) => self.column(field, at),
            Some((relationship, field)) => {
                let (reference, target) = object.relationship(relationship).ok_or_else(|| {
                    let text = format!(
                        "Didn't understand relationship '{relationship}' in field path. If you are attempting to use a \
                         custom relationship, be sure to append the '__r' after the custom relationship name."
                    );
                    error_at(self.text, at, "INVALID_FIELD", &text)
                })?;
                let place = OBJECTS[target]
                    .field(field)
                    .ok_or_else(|| missing(field, OBJECTS[target].name))?;
                let name = object
                    .fields
                    .get(reference)
                    .map_or("", |field| field.name.trim_end_matches("Id"));
                Ok(Column {
                    parent: Some((reference, target, name)),
                    field: place,
                })
            }
        }
    }

    fn any_of(&mut self) -> Result<Condition, RestError> {
        let first = self.all_of()?;
        if !self.is_word("OR") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word("OR") {
            parts.push(self.all_of()?);
        }
        Ok(Condition::Or(parts))
    }

    fn all_of(&mut self) -> Result<Condition, RestError> {
        let first = self.condition()?;
        if !self.is_word("AND") {
            return Ok(first);
        }
        let mut parts = vec![first];
        while self.take_word("AND") {
            parts.push(self.condition()?);
        }
        Ok(Condition::And(parts))
    }

    fn condition(&mut self) -> Result<Condition, RestError> {
        if self.take_word("NOT") {
            return Ok(Condition::Not(Box::new(self.condition()?)));
        }
        if self.take_sign("(") {
            let inner = self.any_of()?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        let at = self.at();
        let name = self.word()?;
        let column = self.column(&name, at)?;
        let negated = self.take_word("NOT");
        if self.take_word("IN") {
            self.expect_sign("(")?;
            let mut values = vec![self.literal()?];
            while self.take_sign(",") {
                values.push(self.literal()?);
            }
            self.expect_sign(")")?;
            let inside = Condition::In(column, values);
            return Ok(if negated {
                Condition::Not(Box::new(inside))
            } else {
                inside
            });
        }
        if negated {
            return Err(self.unexpected());
        }
        let operator = self.operator()?;
        Ok(Condition::Compare(column, operator, self.literal()?))
    }

    fn operator(&mut self) -> Result<Operator, RestError> {
        if self.take_word("LIKE") {
            return Ok(Operator::Like);
        }
        let operator = match self.peek() {
            Some(Token::Sign("=")) => Operator::Equal,
            Some(Token::Sign("!=")) => Operator::NotEqual,
            Some(Token::Sign("<")) => Operator::Less,
            Some(Token::Sign("<=")) => Operator::LessOrEqual,
            Some(Token::Sign(">")) => Operator::Greater,
            Some(Token::Sign(">=")) => Operator::GreaterOrEqual,
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(operator)
    }

    fn literal(&mut self) -> Result<Literal, RestError> {
        let literal = match self.peek() {
            Some(Token::Text(text)) => Literal::Text(text.clone()),
            Some(Token::Number(number)) => Literal::Number(*number),
            Some(Token::Time(time)) => Literal::Time(time.clone()),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("null") => Literal::Null,
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("true") => Literal::Bool(true),
            Some(Token::Word(word)) if word.eq_ignore_ascii_case("false") => Literal::Bool(false),
            _ => return Err(self.unexpected()),
        };
        self.next += 1;
        Ok(literal)
    }

    fn order(&mut self) -> Result<Order, RestError> {
        let at = self.at();
        let name = self.word()?;
        let column = self.column(&name, at)?;
        let descending = !self.take_word("ASC") && self.take_word("DESC");
        let mut nulls_last = descending;
        if self.take_word("NULLS") {
            nulls_last = !self.take_word("FIRST");
            if nulls_last {
                self.expect_word("LAST")?;
            }
        }
        Ok(Order {
            column,
            descending,
            nulls_last,
        })
    }

    fn count(&mut self) -> Result<usize, RestError> {
        let count = match self.peek() {
            Some(Token::Number(number)) => number.to_string().parse::<usize>().ok(),
            _ => None,
        };
        let count = count.ok_or_else(|| self.unexpected())?;
        self.next += 1;
        Ok(count)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|placed| &placed.token)
    }

    fn at(&self) -> usize {
        self.tokens
            .get(self.next)
            .map_or(self.text.len(), |placed| placed.at)
    }

    fn word(&mut self) -> Result<String, RestError> {
        let Some(Token::Word(word)) = self.peek() else {
            return Err(self.unexpected());
        };
        let word = word.clone();
        self.next += 1;
        Ok(word)
    }

    fn is_word(&self, wanted: &str) -> bool {
        matches!(self.peek(), Some(Token::Word(word)) if word.eq_ignore_ascii_case(wanted))
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = self.is_word(wanted);
        self.next += usize::from(found);
        found
    }

    fn take_sign(&mut self, wanted: &str) -> bool {
        let found = matches!(self.peek(), Some(Token::Sign(sign)) if *sign == wanted);
        self.next += usize::from(found);
        found
    }

    fn expect_word(&mut self, wanted: &str) -> Result<(), RestError> {
        if self.take_word(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn expect_sign(&mut self, wanted: &str) -> Result<(), RestError> {
        if self.take_sign(wanted) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> RestError {
        let text = match self.tokens.get(self.next) {
            None => "unexpected token: '<EOF>'".to_owned(),
            Some(Placed {
                token: Token::Word(word) | Token::Text(word) | Token::Time(word),
                ..
            }) => {
                format!("unexpected token: '{word}'")
            }
            Some(Placed {
                token: Token::Number(number),
                ..
            }) => format!("unexpected token: '{number}'"),
            Some(Placed {
                token: Token::Sign(sign),
                ..
            }) => format!("unexpected token: '{sign}'"),
        };
        error_at(self.text, self.at(), "MALFORMED_QUERY", &text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_parsed() {
        let query = parse(
            "select Id, Account.Name from Contact where (LastName = 'O\\'Hara' or Email like 'a%') \
             and AccountId not in ('001', '002') order by LastName desc nulls first limit 5 offset 2",
        )
        .unwrap();
        assert_eq!((query.limit, query.offset), (Some(5), 2));
        assert!(matches!(query.condition, Some(Condition::And(parts)) if parts.len() == 2));
        assert!(query.order[0].descending && !query.order[0].nulls_last);
        assert_eq!(
            parse("SELECT COUNT() FROM Account").unwrap().selection,
            Selection::Count
        );
    }

    #[test]
    fn errors_show_the_place() {
        let error = parse("SELECT Id FORM Account").unwrap_err();
        assert_eq!(error.code, "MALFORMED_QUERY");
        assert_eq!(
            error.message,
            "\nSELECT Id FORM Account\n          ^\nERROR at Row:1:Column:11\nunexpected token: 'FORM'"
        );
        assert_eq!(
            parse("SELECT Nope FROM Account").unwrap_err().code,
            "INVALID_FIELD"
        );
        assert_eq!(parse("SELECT Id FROM Nope").unwrap_err().code, "INVALID_TYPE");
        assert_eq!(
            parse("SELECT Id FROM Account WHERE Name = 'x").unwrap_err().code,
            "MALFORMED_QUERY"
        );
        assert_eq!(
            parse("SELECT Id FROM Account LIMIT x").unwrap_err().code,
            "MALFORMED_QUERY"
        );
        assert_eq!(parse("").unwrap_err().code, "MALFORMED_QUERY");
    }
}
