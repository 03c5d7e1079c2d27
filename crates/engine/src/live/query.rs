//! What can be asked of a live table.

use stet_domain::Login;

/// The most rows of one page.
pub const PAGE_ROWS_MAX: usize = 1_000;

/// The most bytes of text in the cells of one page of several rows: a request must not take all of the memory.
pub const PAGE_BYTES_MAX: usize = 256_000_000;

/// The most filters of one query.
pub const FILTERS_MAX: usize = 100;

/// The most columns to sort by.
pub const SORT_COLUMNS_MAX: usize = 16;

/// The most values of one [`Test::In`].
pub const FILTER_VALUES_MAX: usize = 10_000;

/// The longest value of a filter, in bytes.
pub const FILTER_BYTES_MAX: usize = 10_000;

/// Which rows, in which order. Rows with equal sort values stay in the order of the original, created rows after them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Query {
    /// All of these have to hold.
    pub filters: Vec<Filter>,
    /// One of these has to hold, unless there are none.
    pub states: Vec<StateFilter>,
    /// The first column counts most.
    pub sort: Vec<Sort>,
}

/// A test on the shown value of a column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Filter {
    /// The column.
    pub column: String,
    /// The test.
    pub test: Test,
}

/// A test. Texts are compared without regard to case by the tests on parts of a text; on a linked column these also look
/// at the label. The negative tests hold for empty cells.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Test {
    /// The shown text has this part.
    Contains(String),
    /// The shown text does not have this part.
    NotContains(String),
    /// The shown text starts so.
    StartsWith(String),
    /// The shown text ends so.
    EndsWith(String),
    /// The value is this one.
    Equals(String),
    /// The value is not this one.
    NotEquals(String),
    /// The value is not before `from` and not after `to`; one of them may be left out.
    Between {
        /// The least value.
        from: Option<String>,
        /// The greatest value.
        to: Option<String>,
    },
    /// The value is one of these; none stands for an empty cell.
    In(Vec<Option<String>>),
    /// The cell is empty.
    Blank,
    /// The cell is not empty.
    NotBlank,
}

/// A test on what the log says of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateFilter {
    /// Some cell has an override in force.
    Edited,
    /// The original of an overridden cell has changed since.
    Stale,
    /// Some override in force was made by whoever asks.
    Mine,
    /// The row was created here.
    Created,
}

/// When the rows of a query are counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Count {
    /// Before the page is given.
    #[default]
    Exact,
    /// The page may be given before all rows were looked at; then it says that more may pass than it counts.
    Later,
}

/// One column to sort by; empty cells come last either way.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Sort {
    /// The column.
    pub column: String,
    /// From the greatest to the least.
    pub descending: bool,
}

/// What an order of rows is kept under.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct OrderKey {
    pub query: Query,
    /// Who asks, when that matters.
    pub me: Option<Login>,
}

impl OrderKey {
    pub fn new(query: &Query, me: &Login) -> OrderKey {
        let mut query = query.clone();
        query.states.sort_unstable();
        query.states.dedup();
        let me = query.states.contains(&StateFilter::Mine).then(|| me.clone());
        OrderKey { query, me }
    }

    /// Whether this is every row in the order of the original.
    pub fn is_natural(&self) -> bool {
        self.query.filters.is_empty() && self.query.states.is_empty() && self.query.sort.is_empty()
    }
}
