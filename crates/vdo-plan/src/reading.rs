//! A fact from outside, told apart by how it is known.

/// What reading something gave. Never delete because of `Unreadable`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading<T> {
    /// It is there.
    Present(T),
    /// It is not there; the source answered.
    Absent,
    /// The source did not answer, or refused; the text says why, for a condition's message.
    Unreadable(String),
}

impl<T> Reading<T> {
    /// The value, if it is there.
    pub fn present(&self) -> Option<&T> {
        match self {
            Reading::Present(value) => Some(value),
            Reading::Absent | Reading::Unreadable(_) => None,
        }
    }

    /// The reading of something derived from the value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Reading<U> {
        match self {
            Reading::Present(value) => Reading::Present(f(value)),
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        }
    }

    /// The reading that the value leads to.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
        match self {
            Reading::Present(value) => f(value),
            Reading::Absent => Reading::Absent,
            Reading::Unreadable(why) => Reading::Unreadable(why),
        }
    }
}

impl<T> From<Option<T>> for Reading<T> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Reading::Absent, Reading::Present)
    }
}
