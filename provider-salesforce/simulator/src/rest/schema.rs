//! The objects that every org has, and their fields.

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Id,
    /// Points at a record of another object, through a relationship of this name.
    Reference(&'static str, &'static str),
    Text(usize),
    Number,
    Bool,
    Date,
    DateTime,
}

/// A field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) writable: bool,
}

/// An object.
#[derive(Debug)]
pub(crate) struct Object {
    pub(crate) name: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) prefix: &'static str,
    pub(crate) creatable: bool,
    pub(crate) fields: &'static [Field],
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
        writable: true,
    }
}

const fn required(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: true,
        writable: true,
    }
}

const fn system(name: &'static str, kind: Kind) -> Field {
    Field {
        name,
        kind,
        required: false,
        writable: false,
    }
}

const ID: Field = system("Id", Kind::Id);
const IS_DELETED: Field = system("IsDeleted", Kind::Bool);
const CREATED: Field = system("CreatedDate", Kind::DateTime);
const CREATED_BY: Field = system("CreatedById", Kind::Reference("CreatedBy", "User"));
const MODIFIED: Field = system("LastModifiedDate", Kind::DateTime);
const MODIFIED_BY: Field = system("LastModifiedById", Kind::Reference("LastModifiedBy", "User"));
const MODSTAMP: Field = system("SystemModstamp", Kind::DateTime);
const OWNER: Field = field("OwnerId", Kind::Reference("Owner", "User"));
const ACCOUNT: Field = field("AccountId", Kind::Reference("Account", "Account"));

/// All objects. [`index`] finds one by its name.
pub(crate) static OBJECTS: [Object; 5] = [
    Object {
        name: "Account",
        plural: "Accounts",
        prefix: "001",
        creatable: true,
        fields: &[
            ID,
            IS_DELETED,
            required("Name", Kind::Text(255)),
            field("Type", Kind::Text(255)),
            field("Industry", Kind::Text(255)),
            field("AnnualRevenue", Kind::Number),
            field("NumberOfEmployees", Kind::Number),
            field("Phone", Kind::Text(40)),
            field("Website", Kind::Text(255)),
            field("BillingCity", Kind::Text(40)),
            field("BillingCountry", Kind::Text(80)),
            field("Description", Kind::Text(32_000)),
            OWNER,
            CREATED,
            CREATED_BY,
            MODIFIED,
            MODIFIED_BY,
            MODSTAMP,
        ],
    },
    Object {
        name: "Contact",
        plural: "Contacts",
        prefix: "003",
        creatable: true,
        fields: &[
            ID,
            IS_DELETED,
            ACCOUNT,
            required("LastName", Kind::Text(80)),
            field("FirstName", Kind::Text(40)),
            system("Name", Kind::Text(121)),
            field("Email", Kind::Text(80)),
            field("Phone", Kind::Text(40)),
            field("Title", Kind::Text(128)),
            field("Department", Kind::Text(80)),
            field("MailingCity", Kind::Text(40)),
            field("MailingCountry", Kind::Text(80)),
            field("Description", Kind::Text(32_000)),
            OWNER,
            CREATED,
            CREATED_BY,
            MODIFIED,
            MODIFIED_BY,
            MODSTAMP,
        ],
    },
    Object {
        name: "Opportunity",
        plural: "Opportunities",
        prefix: "006",
        creatable: true,
        fields: &[
            ID,
            IS_DELETED,
            ACCOUNT,
            required("Name", Kind::Text(120)),
            required("StageName", Kind::Text(255)),
            required("CloseDate", Kind::Date),
            field("Amount", Kind::Number),
            field("Probability", Kind::Number),
            system("IsClosed", Kind::Bool),
            system("IsWon", Kind::Bool),
            field("Type", Kind::Text(255)),
            field("NextStep", Kind::Text(255)),
            field("Description", Kind::Text(32_000)),
            OWNER,
            CREATED,
            CREATED_BY,
            MODIFIED,
            MODIFIED_BY,
            MODSTAMP,
        ],
    },
    Object {
        name: "User",
        plural: "Users",
        prefix: "005",
        creatable: false,
        fields: &[
            ID,
            system("Username", Kind::Text(80)),
            system("Email", Kind::Text(128)),
            system("FirstName", Kind::Text(40)),
            system("LastName", Kind::Text(80)),
            system("Name", Kind::Text(121)),
            system("IsActive", Kind::Bool),
            system("UserType", Kind::Text(40)),
            CREATED,
            MODIFIED,
            MODSTAMP,
        ],
    },
    Object {
        name: "Organization",
        plural: "Organizations",
        prefix: "00D",
        creatable: false,
        fields: &[
            ID,
            system("Name", Kind::Text(80)),
            system("InstanceName", Kind::Text(40)),
            system("IsSandbox", Kind::Bool),
            system("OrganizationType", Kind::Text(40)),
            system("NamespacePrefix", Kind::Text(15)),
            system("TrialExpirationDate", Kind::DateTime),
            system("LanguageLocaleKey", Kind::Text(40)),
            system("TimeZoneSidKey", Kind::Text(40)),
            system("Country", Kind::Text(80)),
            CREATED,
            MODIFIED,
            MODSTAMP,
        ],
    },
];

/// The index of an object in [`OBJECTS`]; names are case-insensitive.
pub(crate) fn index(name: &str) -> Option<usize> {
    OBJECTS
        .iter()
        .position(|object| object.name.eq_ignore_ascii_case(name))
}

impl Object {
    /// The index of a field; names are case-insensitive.
    pub(crate) fn field(&self, name: &str) -> Option<usize> {
        self.fields
            .iter()
            .position(|field| field.name.eq_ignore_ascii_case(name))
    }

    /// The reference field behind a relationship, and the object that it points at.
    pub(crate) fn relationship(&self, name: &str) -> Option<(usize, usize)> {
        self.fields
            .iter()
            .enumerate()
            .find_map(|(place, field)| match field.kind {
                Kind::Reference(relationship, target) if relationship.eq_ignore_ascii_case(name) => {
                    Some((place, index(target)?))
                }
                _ => None,
            })
    }
}
