//! Letting other tasks run.
//!
//! What the page cache or a write buffer has room for is done without a wait, so that the turn of a task that asks again and again
//! would never end. Tokio gives a task a budget for that, which its own primitives spend, and so does what is done here.

/// Bytes read or copied for one unit of a task's budget, of which a turn has 128: a few microseconds' worth.
const UNIT: u64 = 64 << 10;

/// Spends what so many bytes cost, one unit at least, and lets others run where nothing is left. To be called before the work,
/// and before there is memory for it.
///
/// # Cancellation
/// Nothing is done yet.
pub(crate) async fn let_others_run(bytes: u64) {
    for _ in 0..bytes.div_ceil(UNIT).max(1) {
        tokio::task::coop::consume_budget().await;
    }
}
