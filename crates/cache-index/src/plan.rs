//! Which segments of a directory a recovery keeps.
//!
//! **Invariants**: a pure function of the listing and of which footers read, so that an open that was cut off comes to the
//! same plan again. Whatever is dropped is a beginning of the log: an old record never outlives a newer one.

use crate::SegmentId;
use std::collections::BTreeSet;

/// What an open knows of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Its id.
    pub id: SegmentId,
    /// The readable footer, if it has one: the earlier segments that it names as having none.
    pub footer: Option<Vec<SegmentId>>,
}

/// A segment to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlannedSegment {
    /// Its id.
    pub id: SegmentId,
    /// Whether it has no footer and must be read record by record.
    pub scan: bool,
}

/// What an open does with the segments it found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Kept, ascending and without a gap.
    pub keep: Vec<PlannedSegment>,
    /// Dropped, ascending. All lie below those that are kept.
    pub drop: Vec<SegmentId>,
    /// The first id that may be used for a new segment: above every one seen. The last id of all stays where it is; a
    /// log that comes so far is full.
    pub next: SegmentId,
}

/// Plans a recovery. `highest_seen` is the highest id that anything else than the listing names, such as a record.
///
/// Going down from the newest segment, the log ends at a gap in the ids, since what was there may have held newer records
/// or tombstones of older keys. It also ends at a segment whose footer does not read although a later segment has one:
/// footers are written in order, so this one had a footer, and is damaged. Unless a later footer names it as one that
/// could not get its own.
pub fn plan(facts: &[SegmentFacts], highest_seen: Option<SegmentId>) -> Plan {
    let mut descending: Vec<&SegmentFacts> = facts.iter().collect();
    descending.sort_by_key(|f| std::cmp::Reverse(f.id));
    descending.dedup_by_key(|f| f.id);

    let highest = descending.first().map(|f| f.id).max(highest_seen);
    let next = highest.map_or(SegmentId::new(1), |id| id.next().unwrap_or(id));
    let mut keep: Vec<PlannedSegment> = Vec::new();
    let mut named = BTreeSet::new();
    let mut footer_above = false;
    for segment in &descending {
        let gap = keep.last().is_some_and(|above| segment.id.next() != Some(above.id));
        let damaged = segment.footer.is_none() && footer_above && !named.contains(&segment.id);
        if gap || damaged {
            break;
        }
        if let Some(names) = &segment.footer {
            footer_above = true;
            named.extend(names.iter().copied());
        }
        keep.push(PlannedSegment { id: segment.id, scan: segment.footer.is_none() });
    }
    let mut drop: Vec<SegmentId> = descending.iter().skip(keep.len()).map(|f| f.id).collect();
    keep.reverse();
    drop.reverse();
    Plan { keep, drop, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> SegmentId {
        SegmentId::new(n)
    }

    fn sealed(n: u32, names: &[u32]) -> SegmentFacts {
        SegmentFacts { id: id(n), footer: Some(names.iter().map(|&n| id(n)).collect()) }
    }

    fn open(n: u32) -> SegmentFacts {
        SegmentFacts { id: id(n), footer: None }
    }

    fn kept(plan: &Plan) -> Vec<(u32, bool)> {
        plan.keep.iter().map(|s| (s.id.get(), s.scan)).collect()
    }

    fn dropped(plan: &Plan) -> Vec<u32> {
        plan.drop.iter().map(|id| id.get()).collect()
    }

    #[test]
    fn a_new_directory_starts_at_segment_one() {
        assert_eq!(plan(&[], None), Plan { keep: vec![], drop: vec![], next: id(1) });
    }

    #[test]
    fn sealed_segments_are_kept_and_an_open_tail_is_scanned() {
        let plan = plan(&[sealed(3, &[]), sealed(4, &[]), open(5), open(6)], None);
        assert_eq!(kept(&plan), [(3, false), (4, false), (5, true), (6, true)]);
        assert_eq!((dropped(&plan), plan.next), (vec![], id(7)));
    }

    #[test]
    fn a_gap_in_the_ids_drops_everything_before_it() {
        let plan = plan(&[sealed(1, &[]), sealed(2, &[]), sealed(4, &[]), sealed(7, &[]), open(8)], None);
        assert_eq!(kept(&plan), [(7, false), (8, true)]);
        assert_eq!(dropped(&plan), [1, 2, 4]);
    }

    #[test]
    fn a_gap_below_open_segments_counts_too() {
        let plan = plan(&[open(1), open(3)], None);
        assert_eq!((kept(&plan), dropped(&plan)), (vec![(3, true)], vec![1]));
    }

    #[test]
    fn a_damaged_footer_drops_its_segment_and_everything_before() {
        let plan = plan(&[sealed(1, &[]), open(2), sealed(3, &[]), open(4)], None);
        assert_eq!((kept(&plan), dropped(&plan)), (vec![(3, false), (4, true)], vec![1, 2]));
    }

    #[test]
    fn a_segment_that_a_later_footer_names_is_scanned_instead() {
        let facts = [sealed(1, &[]), open(2), sealed(3, &[]), sealed(4, &[2]), open(5)];
        let plan = plan(&facts, None);
        assert_eq!(kept(&plan), [(1, false), (2, true), (3, false), (4, false), (5, true)]);
    }

    #[test]
    fn only_a_later_footer_speaks_for_a_segment() {
        let plan = plan(&[sealed(1, &[2]), open(2), sealed(3, &[1])], None);
        assert_eq!((kept(&plan), dropped(&plan)), (vec![(3, false)], vec![1, 2]));
    }

    #[test]
    fn the_newest_damage_decides() {
        let facts = [open(1), sealed(2, &[1]), open(3), sealed(4, &[]), open(5), sealed(6, &[3]), open(7)];
        assert_eq!(dropped(&plan(&facts, None)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn the_next_id_lies_above_every_one_seen() {
        assert_eq!(plan(&[sealed(2, &[]), sealed(9, &[])], None).next, id(10));
        assert_eq!(plan(&[sealed(2, &[])], Some(id(11))).next, id(12));
        assert_eq!(plan(&[sealed(20, &[])], Some(id(11))).next, id(21));
        assert_eq!(plan(&[], Some(id(11))).next, id(12));
        assert_eq!(plan(&[open(u32::MAX)], None).next, id(u32::MAX));
    }

    #[test]
    fn the_order_of_the_listing_does_not_matter() {
        let mut facts = vec![sealed(1, &[]), sealed(3, &[]), open(4), sealed(5, &[4]), open(6)];
        let expected = plan(&facts, None);
        facts.reverse();
        assert_eq!(plan(&facts, None), expected);
        facts.swap(0, 2);
        facts.push(open(6));
        assert_eq!(plan(&facts, None), expected);
        assert_eq!(kept(&expected), [(3, false), (4, true), (5, false), (6, true)]);
    }

    #[test]
    fn a_plan_carried_out_half_way_is_planned_again_the_same() {
        let facts = [sealed(1, &[]), open(2), sealed(3, &[]), sealed(4, &[]), open(5)];
        let whole = plan(&facts, None);
        for unlinked in 0..=whole.drop.len() {
            let again = plan(&facts[unlinked..], None);
            assert_eq!((again.keep, again.next), (whole.keep.clone(), whole.next));
        }
    }
}
