//! Times as they are written, as milliseconds.

/// A day in milliseconds.
const DAY: i64 = 86_400_000;

/// Reads a time: ISO 8601 (`2014-07-01`, `2014-07-01 00:30:00`, `2014-07-01T00:30:00.5Z`, with an offset
/// `+02:00`; without one it is taken as UTC), or a number of seconds since 1970. A number too large for seconds
/// before the year 5138 is taken as milliseconds, microseconds or nanoseconds. `None` for anything else.
///
/// The answer is in milliseconds since 1970.
pub fn parse_stamp(text: &str) -> Option<i64> {
    let text = text.trim();
    match text.parse::<f64>() {
        Ok(number) => epoch(number),
        Err(_) => iso(text),
    }
}

fn epoch(number: f64) -> Option<i64> {
    let magnitude = number.abs();
    let millis = match magnitude {
        m if m < 1e11 => number * 1e3,
        m if m < 1e14 => number,
        m if m < 1e17 => number / 1e3,
        m if m < 1e20 => number / 1e6,
        // NaN and infinity as well.
        _ => return None,
    };
    Some(millis.round() as i64)
}

fn iso(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let mut parts = date.split('-').map(digits);
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    if parts.next().is_some()
        || !(1..=12).contains(&month)
        || !(1..=days_of(year, month)).contains(&day)
    {
        return None;
    }
    let midnight = days_since_1970(year, month, day) * DAY;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = rest.strip_prefix([' ', 'T'])?;
    let zone = rest.find(['Z', '+', '-']).unwrap_or(rest.len());
    let (clock, zone) = rest.split_at(zone);
    Some(midnight + clock_millis(clock.trim_end())? - zone_millis(zone)?)
}

/// A run of digits alone: no sign, no space.
fn digits(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn clock_millis(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let (second, fraction) = match parts.next() {
        None => (0, 0),
        Some(part) => {
            let (second, fraction) = part.split_once('.').unwrap_or((part, "0"));
            let valid = !fraction.is_empty() && fraction.bytes().all(|b| b.is_ascii_digit());
            let fraction: f64 = valid
                .then(|| format!("0.{fraction}").parse().ok())
                .flatten()?;
            (digits(second)?, (fraction * 1000.0).round() as i64)
        }
    };
    let within = hour < 24 && minute < 60 && second <= 60 && parts.next().is_none();
    within.then_some(((hour * 60 + minute) * 60 + second) * 1000 + fraction)
}

fn zone_millis(text: &str) -> Option<i64> {
    let sign = match text.bytes().next() {
        None => return Some(0),
        Some(b'Z') => return (text.len() == 1).then_some(0),
        Some(b'-') => -1,
        Some(_) => 1,
    };
    let (hours, minutes) = match text[1..].split_once(':') {
        Some(both) => both,
        None if text.len() == 5 => text[1..].split_at(2),
        None => (&text[1..], "0"),
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes) * 60_000)
}

fn days_of(year: i64, month: i64) -> i64 {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days of the proleptic Gregorian calendar, counted in years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// A time as ISO 8601 in UTC, without milliseconds where there are none.
pub fn format_stamp(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(DAY), millis.rem_euclid(DAY));
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let part = (5 * of_year + 2) / 153;
    let day = of_year - (153 * part + 2) / 5 + 1;
    let month = if part < 10 { part + 3 } else { part - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let clock = format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}");
    if millis == 0 {
        clock
    } else {
        format!("{clock}.{millis:03}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_every_spelling() {
        let noon = Some(1_404_216_000_000);
        for text in [
            "2014-07-01 12:00:00",
            "2014-07-01T12:00:00Z",
            "2014-07-01 12:00:00.000000",
            "2014-07-01T14:00:00+02:00",
            "2014-07-01T07:30-0430",
            "2014-07-01T14:00+02",
            "1404216000",
            "1404216000000",
            "1404216000000000",
            " 1404216000000000000 ",
        ] {
            assert_eq!(parse_stamp(text), noon, "{text}");
        }
        assert_eq!(parse_stamp("1970-01-02"), Some(DAY));
        assert_eq!(parse_stamp("1969-12-31 23:59:59.5"), Some(-500));
        assert_eq!(parse_stamp("2000-02-29"), Some(951_782_400_000));
        assert_eq!(parse_stamp("0"), Some(0));
    }

    #[test]
    fn what_is_no_time() {
        for text in [
            "",
            "now",
            "NaN",
            "inf",
            "1e40",
            "2014-13-01",
            "2015-02-29",
            "2014-07-01 25:00:00",
            "2014-07-01x",
            "2014-07-01 12",
            "2014-07-01 12:00:00.",
            "2014-07-01 12:00+99:00",
            "-2014-07-0",
            "2014-07-01Z",
            "日日日日",
        ] {
            assert_eq!(parse_stamp(text), None, "{text}");
        }
    }

    #[test]
    fn there_and_back() {
        for text in [
            "2014-07-01 12:00:00",
            "1999-12-31 23:59:59",
            "1600-02-29 00:00:00",
            "2014-07-01 12:00:00.250",
        ] {
            assert_eq!(format_stamp(parse_stamp(text).unwrap()), text);
        }
    }
}
