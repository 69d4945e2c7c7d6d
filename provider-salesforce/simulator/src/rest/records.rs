//! The records of one org.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use serde_json::Value;

use crate::clock::{Millis, rest_time};
use crate::config::Org;
use crate::ids::{record_id, to_18};
use crate::rest::schema::{OBJECTS, Object, index};
use crate::rest::soql::Column;
use crate::users::UserState;

/// A record: one value for each field of its object, in the order of the schema.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) values: Vec<Value>,
    pub(crate) deleted: bool,
}

/// All records of an object.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) rows: Vec<Record>,
    by_id: HashMap<String, usize>,
}

impl Table {
    /// The row of an id (15 characters).
    pub(crate) fn row(&self, id15: &str) -> Option<usize> {
        self.by_id.get(id15).copied()
    }

    pub(crate) fn insert(&mut self, record: Record) {
        let id = record
            .values
            .first()
            .and_then(Value::as_str)
            .and_then(|id| id.get(..15))
            .unwrap_or_default();
        self.by_id.insert(id.to_owned(), self.rows.len());
        self.rows.push(record);
    }
}

/// The rows of a query whose later pages may still be requested.
#[derive(Debug)]
pub(crate) struct Cursor {
    pub(crate) object: usize,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<usize>,
    pub(crate) user: usize,
    pub(crate) created_at: Millis,
}

/// The data of one org.
#[derive(Debug)]
pub(crate) struct OrgData {
    pub(crate) tables: Vec<Table>,
    pub(crate) cursors: HashMap<String, Arc<Cursor>>,
    pub(crate) cursor_order: VecDeque<String>,
    /// REST calls in the current window of 24 hours, and when that began.
    api_used: u64,
    api_since: Millis,
    pod: String,
    next_number: u64,
}

impl OrgData {
    /// The initial records of an org.
    pub(crate) fn generate(
        org_index: usize,
        org: &Org,
        users: &[UserState],
        accounts: usize,
        contacts: usize,
        now: Millis,
    ) -> Self {
        let mut data = Self {
            tables: OBJECTS.iter().map(|_| Table::default()).collect(),
            cursors: HashMap::new(),
            cursor_order: VecDeque::new(),
            api_used: 0,
            api_since: now,
            pod: org.id.get(3..5).unwrap_or("5g").to_owned(),
            next_number: 100_000,
        };
        let mine: Vec<&UserState> = users.iter().filter(|user| user.user.org == org_index).collect();
        let owner = mine.first().map_or_else(String::new, |user| user.id18.clone());
        data.put(
            "Organization",
            Some(to_18(&org.id)),
            &owner,
            now,
            &[
                ("Name", Value::from(org.name.as_str())),
                ("InstanceName", Value::from(org.instance_name.as_str())),
                ("IsSandbox", Value::from(org.is_sandbox)),
                ("OrganizationType", Value::from(org.organization_type.as_str())),
                ("LanguageLocaleKey", Value::from("en_US")),
                ("TimeZoneSidKey", Value::from("America/Los_Angeles")),
                ("Country", Value::from("US")),
            ],
        );
        for user in mine {
            let name = format!("{} {}", user.user.first_name, user.user.last_name);
            data.put(
                "User",
                Some(user.id18.clone()),
                &owner,
                now,
                &[
                    ("Username", Value::from(user.user.username.as_str())),
                    ("Email", Value::from(user.user.email.as_str())),
                    ("FirstName", Value::from(user.user.first_name.as_str())),
                    ("LastName", Value::from(user.user.last_name.as_str())),
                    ("Name", Value::from(name)),
                    ("IsActive", Value::from(true)),
                    ("UserType", Value::from("Standard")),
                ],
            );
        }
        data.fill(&owner, accounts, contacts, now);
        data
    }

    fn fill(&mut self, owner: &str, accounts: usize, contacts: usize, now: Millis) {
        const COMPANIES: [&str; 8] = [
            "Edge",
            "Burlington",
            "Pyramid",
            "Dickenson",
            "Grand",
            "United",
            "Express",
            "Northwind",
        ];
        const TRADES: [&str; 5] = ["Electronics", "Textiles", "Construction", "Hotels", "Logistics"];
        const FIRST: [&str; 10] = [
            "Rose", "Sean", "Jack", "Pat", "Andy", "Tim", "John", "Stella", "Lauren", "Babara",
        ];
        const LAST: [&str; 11] = [
            "Gonzalez",
            "Forbes",
            "Rogers",
            "Stumuller",
            "Young",
            "Barr",
            "Bond",
            "Pavlova",
            "Boyle",
            "Levy",
            "Song",
        ];
        const CITIES: [&str; 6] = ["Austin", "Burlington", "Tucson", "Chicago", "Berlin", "Paris"];
        let pick = |list: &[&str], number: usize| Value::from(list[number % list.len()]);
        let mut account_ids = Vec::with_capacity(accounts);
        for number in 0..accounts {
            let trade = TRADES[number % TRADES.len()];
            let name = format!("{} {trade} {number}", COMPANIES[number % COMPANIES.len()]);
            let id = self.put(
                "Account",
                None,
                owner,
                now,
                &[
                    ("Name", Value::from(name)),
                    ("Industry", Value::from(trade)),
                    ("Type", pick(&["Customer - Direct", "Prospect"], number)),
                    ("AnnualRevenue", Value::from(1_000_000 + 250_000 * number)),
                    ("NumberOfEmployees", Value::from(10 * (number + 1))),
                    ("Phone", Value::from(format!("(512) 555-{number:04}"))),
                    ("BillingCity", pick(&CITIES, number)),
                ],
            );
            account_ids.push(id);
        }
        for number in 0..contacts {
            let (first, last) = (FIRST[number % FIRST.len()], LAST[number % LAST.len()]);
            let account = account_ids.get(number % accounts.max(1)).cloned();
            self.put(
                "Contact",
                None,
                owner,
                now,
                &[
                    ("FirstName", Value::from(first)),
                    ("LastName", Value::from(last)),
                    ("Name", Value::from(format!("{first} {last}"))),
                    ("AccountId", account.map_or(Value::Null, Value::from)),
                    ("Email", Value::from(format!("contact{number}@example.com"))),
                    ("Title", pick(&["Buyer", "Director", "Engineer"], number)),
                    ("MailingCity", pick(&CITIES, number)),
                ],
            );
        }
    }

    fn put(
        &mut self,
        object: &str,
        id: Option<String>,
        user: &str,
        now: Millis,
        given: &[(&str, Value)],
    ) -> String {
        let Some(place) = index(object) else {
            return String::new();
        };
        let id = id.unwrap_or_else(|| self.next_id(&OBJECTS[place]));
        let mut values = vec![Value::Null; OBJECTS[place].fields.len()];
        for (name, value) in given {
            if let Some(slot) = OBJECTS[place].field(name).and_then(|field| values.get_mut(field)) {
                *slot = value.clone();
            }
        }
        self.insert(place, &id, values, user, now);
        id
    }

    /// A fresh record id for this object.
    pub(crate) fn next_id(&mut self, object: &Object) -> String {
        self.next_number += 1;
        record_id(object.prefix, &self.pod, self.next_number)
    }

    /// A fresh name for a cursor.
    pub(crate) fn next_locator(&mut self) -> String {
        self.next_number += 1;
        record_id("01g", &self.pod, self.next_number)
    }

    /// Adds a record, and fills in the system fields.
    pub(crate) fn insert(
        &mut self,
        object: usize,
        id: &str,
        mut values: Vec<Value>,
        user: &str,
        now: Millis,
    ) {
        let stamp = rest_time(now);
        for (slot, field) in values.iter_mut().zip(OBJECTS[object].fields) {
            match field.name {
                "Id" => *slot = Value::from(id),
                "IsDeleted" => *slot = Value::from(false),
                "CreatedDate" | "LastModifiedDate" | "SystemModstamp" => *slot = Value::from(stamp.as_str()),
                "CreatedById" | "LastModifiedById" => *slot = Value::from(user),
                "OwnerId" if slot.is_null() => *slot = Value::from(user),
                _ => {}
            }
        }
        if let Some(table) = self.tables.get_mut(object) {
            table.insert(Record {
                values,
                deleted: false,
            });
        }
    }

    /// Counts a REST call. Returns the calls of this window, and whether this one was allowed.
    pub(crate) fn count_call(&mut self, limit: u64, now: Millis) -> (u64, bool) {
        const DAY: Millis = 86_400_000;
        if now - self.api_since >= DAY {
            self.api_since = now;
            self.api_used = 0;
        }
        let allowed = self.api_used < limit;
        if allowed {
            self.api_used += 1;
        }
        (self.api_used, allowed)
    }

    /// REST calls in this window so far.
    pub(crate) fn calls(&self) -> u64 {
        self.api_used
    }
}
