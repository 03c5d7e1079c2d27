//! Dates of events as text: RFC 3339 in UTC with six digits of a second, such as `2026-11-22T08:40:14.120000Z`.

/// The length of a date's text in bytes.
pub const DATE_BYTES: usize = 27;

const SECOND_MICROS: i64 = 1_000_000;
const DAY_MICROS: i64 = 86_400 * SECOND_MICROS;

/// Writes a date; none outside the years 0 to 9999.
///
/// The calendar is by Howard Hinnant's algorithms on days since an era of 400 years.
pub fn format(micros: i64) -> Option<String> {
    let (days, of_day) = (micros.div_euclid(DAY_MICROS), micros.rem_euclid(DAY_MICROS));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return None;
    }
    let seconds = of_day / SECOND_MICROS;
    Some(format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        of_day % SECOND_MICROS
    ))
}

/// Reads a date; none if the text is not exactly what [`format()`] writes.
pub fn parse(text: &[u8]) -> Option<i64> {
    parse_exact(text.try_into().ok()?)
}

/// Reads a date of the right length; see [`parse()`].
pub(crate) fn parse_exact(text: &[u8; DATE_BYTES]) -> Option<i64> {
    let form = b"dddd-dd-ddTdd:dd:dd.ddddddZ";
    if !form.iter().zip(text).all(|(form, byte)| if *form == b'd' { byte.is_ascii_digit() } else { form == byte }) {
        return None;
    }
    let number = |from: usize, to: usize| text[from..to].iter().fold(0, |n, byte| n * 10 + i64::from(byte - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 7), number(8, 10));
    let (hour, minute, second) = (number(11, 13), number(14, 16), number(17, 19));
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let month_days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=month_days).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let shifted_year = year - i64::from(month <= 2);
    let (era, year_of_era) = (shifted_year.div_euclid(400), shifted_year.rem_euclid(400));
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * 146_097 + of_era - 719_468;
    Some(days * DAY_MICROS + (hour * 3600 + minute * 60 + second) * SECOND_MICROS + number(20, 26))
}
