//! Values on the wire.
//!
//! A column says by its type what its values are: `BINARY(16)` is a version,
//! `VARBINARY(1024)` text that is compared byte by byte, `LONGTEXT` a doc,
//! `DATETIME` a time.

use bytes::Bytes;
use holdall_core::Version;
use mysql_async::Column;
use mysql_async::Value as Wire;
use mysql_async::consts::ColumnType;

use crate::sql::Value;

/// The character set of bytes that are no text.
const BINARY: u16 = 63;

/// The bytes of a `VARBINARY` that holds text.
const TEXT: u32 = 1024;

/// The bytes of a `LONGTEXT`.
const DOC: u32 = u32::MAX;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// The first and the last day that a `DATETIME` knows, in days since 1970:
/// 1000-01-01 and 9999-12-31.
const DAYS: (i64, i64) = (-354_285, 2_932_896);

/// A value as it is sent.
pub(super) fn to_wire(value: &Value) -> Wire {
    match value {
        // Lists are not of this dialect.
        Value::Null | Value::List(..) => Wire::NULL,
        Value::Int(number) => Wire::Int(*number),
        Value::Text(text) => Wire::Bytes(text.as_bytes().to_vec()),
        Value::Bytes(bytes) => Wire::Bytes(bytes.clone()),
        Value::Time(time) => date(*time),
        Value::Version(version) => Wire::Bytes(version.as_bytes().to_vec()),
        Value::Doc(text) => Wire::Bytes(text.to_vec()),
    }
}

/// A value as it came; `None` if it is none that Holdall writes.
pub(super) fn from_wire(value: Wire, column: &Column) -> Option<Value> {
    Some(match value {
        Wire::NULL => Value::Null,
        Wire::Int(number) => Value::Int(number),
        Wire::UInt(number) => Value::Int(i64::try_from(number).ok()?),
        Wire::Date(year, month, day, hour, minute, second, micros) => {
            let seconds = (i64::from(hour) * 60 + i64::from(minute)) * 60 + i64::from(second);
            let days = days_of(i64::from(year), i64::from(month), i64::from(day));
            Value::Time(days * DAY + seconds * 1_000_000 + i64::from(micros))
        }
        Wire::Bytes(bytes) if column.character_set() == BINARY => {
            match (column.column_type(), column.column_length()) {
                (ColumnType::MYSQL_TYPE_STRING, 16) => {
                    Value::Version(Version::from_slice(&bytes).ok()?)
                }
                (ColumnType::MYSQL_TYPE_VAR_STRING, TEXT) => {
                    Value::Text(String::from_utf8(bytes).ok()?)
                }
                _ => Value::Bytes(bytes),
            }
        }
        Wire::Bytes(bytes) if column.column_length() == DOC => Value::Doc(Bytes::from(bytes)),
        Wire::Bytes(bytes) => Value::Text(String::from_utf8(bytes).ok()?),
        Wire::Float(_) | Wire::Double(_) | Wire::Time(..) => return None,
    })
}

/// A time, or the nearest that a `DATETIME` knows: nothing is stored there.
fn date(time: i64) -> Wire {
    let (first, last) = (DAYS.0 * DAY, (DAYS.1 + 1) * DAY - 1);
    let time = time.clamp(first, last);
    let (year, month, day) = date_of(time.div_euclid(DAY));
    let micros = time.rem_euclid(DAY);
    let seconds = micros / 1_000_000;
    let small = |number: i64| u8::try_from(number).unwrap_or(0);
    Wire::Date(
        u16::try_from(year).unwrap_or(0),
        small(month),
        small(day),
        small(seconds / 3600),
        small(seconds / 60 % 60),
        small(seconds % 60),
        u32::try_from(micros % 1_000_000).unwrap_or(0),
    )
}

/// The days of 400 years, after which the calendar repeats.
const ERA: i64 = 146_097;

/// Days from the first of March of the year 0 to 1970.
const EPOCH: i64 = 719_468;

/// Year, month and day of a day since 1970. Years begin in March here, so that a
/// leap day is the last of its year.
fn date_of(day: i64) -> (i64, i64, i64) {
    let day = day + EPOCH;
    let of_era = day.rem_euclid(ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day_of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = (from_march + 2) % 12 + 1;
    let year = day.div_euclid(ERA) * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day_of_month)
}

/// The day since 1970 of a date.
fn days_of(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    year.div_euclid(400) * ERA + of_era - EPOCH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_have_dates_and_dates_have_days() {
        for (day, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (DAYS.0, (1000, 1, 1)),
            (DAYS.1, (9999, 12, 31)),
        ] {
            assert_eq!(date_of(day), date);
            assert_eq!(days_of(date.0, date.1, date.2), day);
        }
        for day in DAYS.0..=DAYS.1 {
            let (year, month, of_month) = date_of(day);
            assert_eq!(days_of(year, month, of_month), day);
        }
    }

    #[test]
    fn a_time_that_no_datetime_knows_becomes_the_nearest() {
        assert_eq!(date(i64::MIN), Wire::Date(1000, 1, 1, 0, 0, 0, 0));
        let last = Wire::Date(9999, 12, 31, 23, 59, 59, 999_999);
        assert_eq!(date(i64::MAX), last);
        assert_eq!(date(-1), Wire::Date(1969, 12, 31, 23, 59, 59, 999_999));
    }
}
