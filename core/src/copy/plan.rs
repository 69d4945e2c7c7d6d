//! Which copy this is, and whether it may be done: pure, and before anything is written.

use std::collections::{BTreeMap, BTreeSet};

use super::CopyError;
use crate::{
    engine::directory::{Body, Mark, Role},
    id::IntegrationId,
    store::StoredIntegration,
};

/// What the marks of both stores say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// The copy that was begun; `None` begins one.
    pub(super) copy: Option<u128>,
    /// Integrations in the target that were once moved to the source, and removed there.
    pub(super) left_over: Vec<IntegrationId>,
}

type Marks = BTreeMap<IntegrationId, Option<Mark>>;

fn marks(rows: &[StoredIntegration]) -> Result<Marks, CopyError> {
    let mark = |stored: &StoredIntegration| {
        let id = stored.row.id.clone();
        match Body::decode(stored) {
            Ok(body) => Ok((id, body.mark)),
            Err(_) => Err(CopyError::Unreadable(id)),
        }
    };
    rows.iter().map(mark).collect()
}

/// Reads the marks of both stores.
pub(super) fn plan(source: &[StoredIntegration], target: &[StoredIntegration]) -> Result<Plan, CopyError> {
    // A write has a random id of its own, so two stores never have the same row of the same version.
    let same = |a: &StoredIntegration| target.iter().any(|b| b == a);
    if source.iter().any(same) {
        return Err(CopyError::SameStore);
    }
    let (source, target) = (marks(source)?, marks(target)?);
    let of_role = |marks: &Marks, role: Role| -> BTreeSet<u128> {
        let those = marks.values().flatten().filter(|mark| mark.role == role);
        those.map(|mark| mark.copy).collect()
    };
    if !of_role(&source, Role::Arriving).is_empty() {
        return Err(CopyError::Unfinished);
    }
    let went = of_role(&source, Role::Moved);
    let arriving = of_role(&target, Role::Arriving);
    // The target is written before the source is marked: a copy whose marks stand in the source stands in its target.
    let copy = match went.first() {
        Some(copy) => {
            let known = arriving.contains(copy) || of_role(&target, Role::Arrived).contains(copy);
            if went.len() > 1 || !known {
                return Err(CopyError::OtherTarget);
            }
            Some(*copy)
        }
        None => arriving.first().copied(),
    };
    let came_from = |id: &IntegrationId, before: u128| {
        let mark = source.get(id).copied().flatten();
        mark.is_some_and(|mark| mark.role == Role::Arrived && mark.copy == before)
    };
    let mut back = false;
    let mut left_over = Vec::new();
    for (id, mark) in &target {
        match mark {
            Some(mark) if Some(mark.copy) == copy && mark.role != Role::Moved => {}
            Some(Mark {
                role: Role::Moved,
                copy: before,
            }) if came_from(id, *before) => back = true,
            Some(Mark {
                role: Role::Moved, ..
            }) if !source.contains_key(id) => left_over.push(id.clone()),
            _ => return Err(CopyError::TargetNotEmpty),
        }
    }
    // Only the store that this one was moved to can tell that they were removed.
    if !left_over.is_empty() && !back && copy.is_none() {
        return Err(CopyError::TargetNotEmpty);
    }
    Ok(Plan { copy, left_over })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        engine::directory::Switch,
        store::{IntegrationRow, Revision},
        time::Timestamp,
    };

    const MOVED: Role = Role::Moved;
    const ARRIVING: Role = Role::Arriving;
    const ARRIVED: Role = Role::Arrived;

    /// A store with these integrations, each with the mark that it has.
    fn store(name: u128, rows: &[(&str, Option<(u128, Role)>)]) -> Vec<StoredIntegration> {
        let row = |(id, mark): &(&str, Option<(u128, Role)>)| {
            let body = Body {
                name: String::new(),
                offering: String::new(),
                client_id: String::new(),
                secret: String::new(),
                scopes: Vec::new(),
                redirect_uris: Vec::new(),
                monthly_limit: None,
                options: BTreeMap::new(),
                verified: true,
                state_reason: String::new(),
                switch: Switch::On,
                created_at: Timestamp(0),
                mark: mark.map(|(copy, role)| Mark { copy, role }),
            };
            StoredIntegration {
                row: body.encode(&id.parse().unwrap(), None).unwrap(),
                revision: Revision {
                    counter: 1,
                    write: name,
                },
            }
        };
        rows.iter().map(row).collect()
    }

    fn judge(source: &[(&str, Option<(u128, Role)>)], target: &[(&str, Option<(u128, Role)>)]) -> String {
        match plan(&store(1, source), &store(2, target)) {
            Ok(plan) => format!("{:?} {}", plan.copy, plan.left_over.len()),
            Err(error) => error.code().to_owned(),
        }
    }

    #[test]
    fn the_marks_of_both_stores_say_which_copy_it_is() {
        for (what, source, target, says) in [
            ("nothing to copy", &[][..], &[][..], "None 0"),
            ("a first run", &[("a", None)], &[], "None 0"),
            (
                "the target is used",
                &[("a", None)],
                &[("b", None)],
                "copy_target_not_empty",
            ),
            (
                "the same id, of a backup",
                &[("a", None)],
                &[("a", None)],
                "copy_target_not_empty",
            ),
            (
                "ended before the source was marked",
                &[("a", None)],
                &[("a", Some((7, ARRIVING)))],
                "Some(7) 0",
            ),
            (
                "ended in the middle",
                &[("a", Some((7, MOVED))), ("b", None)],
                &[("a", Some((7, ARRIVING)))],
                "Some(7) 0",
            ),
            (
                "done",
                &[("a", Some((7, MOVED)))],
                &[("a", Some((7, ARRIVED)))],
                "Some(7) 0",
            ),
            (
                "done, and used since",
                &[("a", Some((7, MOVED))), ("b", Some((7, MOVED)))],
                &[("a", Some((7, ARRIVED)))],
                "Some(7) 0",
            ),
            (
                "another target",
                &[("a", Some((7, MOVED)))],
                &[],
                "copy_other_target",
            ),
            (
                "another copy's target",
                &[("a", Some((7, MOVED)))],
                &[("a", Some((8, ARRIVING)))],
                "copy_other_target",
            ),
            (
                "from a target that is not complete",
                &[("a", Some((7, ARRIVING)))],
                &[],
                "copy_unfinished",
            ),
            (
                "back",
                &[("a", Some((7, ARRIVED)))],
                &[("a", Some((7, MOVED)))],
                "None 0",
            ),
            (
                "back, where one was removed meanwhile",
                &[("a", Some((7, ARRIVED)))],
                &[("a", Some((7, MOVED))), ("b", Some((7, MOVED)))],
                "None 1",
            ),
            (
                "to where another store was copied from",
                &[("a", None)],
                &[("b", Some((7, MOVED)))],
                "copy_target_not_empty",
            ),
            (
                "back in the middle",
                &[("a", Some((9, MOVED))), ("b", Some((7, ARRIVED)))],
                &[("a", Some((9, ARRIVING))), ("b", Some((7, MOVED)))],
                "Some(9) 0",
            ),
            (
                "back to a store that was never the source",
                &[("a", Some((7, ARRIVED)))],
                &[("a", Some((6, MOVED)))],
                "copy_target_not_empty",
            ),
        ] {
            assert_eq!(judge(source, target), says, "{what}");
        }
    }

    #[test]
    fn a_store_is_not_copied_to_itself() {
        let store = store(1, &[("a", None)]);
        assert_eq!(plan(&store, &store).unwrap_err().code(), "copy_same_store");
    }

    #[test]
    fn what_cannot_be_read_is_said_before_anything_is_done() {
        let unreadable = vec![StoredIntegration {
            row: IntegrationRow {
                id: "a".parse().unwrap(),
                slug: None,
                body: b"{}".as_slice().into(),
            },
            revision: Revision { counter: 1, write: 1 },
        }];
        assert_eq!(plan(&unreadable, &[]).unwrap_err().code(), "copy_unreadable");
    }
}
