//! Parts of a state, packed into words.

use grantry::connection::Status;

use crate::{
    row::{Age, Owed, Phase, Row},
    state::Version,
    upstream::Token,
};

/// A few values in one word, the first in the lowest bits.
#[derive(Clone, Copy, Default)]
pub struct Code {
    pub value: u64,
    width: u32,
}

impl Code {
    pub fn put(&mut self, value: impl Into<u64>, width: u32) {
        let value = value.into();
        assert!(value >> width == 0, "does not fit in a packed state");
        self.value |= value << self.width;
        self.width += width;
    }

    pub fn flag(&mut self, is: bool) {
        self.put(is, 1);
    }

    pub fn token(&mut self, token: Option<Token>) {
        self.flag(token.is_some());
        self.put(token.map_or(0, Token::code), Token::BITS);
    }

    pub fn row(&mut self, row: &Row) {
        self.put(row.version.epoch, 2);
        self.put(row.version.generation, 3);
        self.token(row.token);
        self.put(status_code(row.status), 2);
        self.put(row.refresh.code(), Phase::BITS);
        self.put(row.owed.0, 8);
        self.flag(row.gone);
    }

    pub fn age(&mut self, age: Age, ended: bool) {
        self.put(age as u8, 2);
        self.flag(ended);
    }
}

/// Written and read from the lowest bit upwards.
pub struct Bits<const N: usize> {
    pub words: [u64; N],
    pub at: u32,
}

impl<const N: usize> Bits<N> {
    pub fn put(&mut self, Code { value, width }: Code) {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        self.words[word] |= value << shift;
        if shift + width > 64 {
            self.words[word + 1] |= value >> (64 - shift);
        }
        self.at += width;
    }

    pub fn take(&mut self, width: u32) -> u64 {
        let (word, shift) = ((self.at / 64) as usize, self.at % 64);
        let mut value = self.words[word] >> shift;
        if shift + width > 64 {
            value |= self.words[word + 1] << (64 - shift);
        }
        self.at += width;
        value & ((1 << width) - 1)
    }

    pub fn byte(&mut self, width: u32) -> u8 {
        u8::try_from(self.take(width)).unwrap()
    }

    pub fn flag(&mut self) -> bool {
        self.take(1) == 1
    }

    pub fn row(&mut self) -> Row {
        let (epoch, generation) = (self.byte(2), self.byte(3));
        Row {
            version: Version { epoch, generation },
            token: self.token(),
            status: STATUSES[usize::from(self.byte(2))],
            refresh: Phase::coded(self.byte(Phase::BITS)),
            owed: Owed(self.byte(8)),
            gone: self.flag(),
        }
    }

    pub fn age(&mut self) -> (Age, bool) {
        (AGES[usize::from(self.byte(2))], self.flag())
    }

    pub fn token(&mut self) -> Option<Token> {
        let is_there = self.flag();
        let token = Token::of(self.byte(Token::BITS));
        is_there.then_some(token)
    }
}

fn status_code(status: Status) -> u8 {
    match status {
        Status::Connected => 0,
        Status::Expired => 1,
        Status::Revoked | Status::Deleted => 2,
    }
}

const STATUSES: [Status; 3] = [Status::Connected, Status::Expired, Status::Deleted];
const AGES: [Age; 4] = [Age::Living, Age::Lapsed, Age::Over, Age::Foreign];
