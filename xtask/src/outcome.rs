//! What a check came to.

/// Short of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran and found nothing wrong; with a word for the table.
    Done(String),
    /// It did not run, or not all of it, because this machine lacks something.
    Skipped(String),
}

/// A failure is told in lines of text.
pub(crate) type Ran = Result<Outcome, String>;

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::Done(String::new())
    }
}
