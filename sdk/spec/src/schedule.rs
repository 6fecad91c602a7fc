//! Schedules: cron expressions in a time zone.

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use eyot_model::{Millis, Timestamp};
use jiff::Zoned;
use jiff::tz::TimeZone;

/// The instants of a cron expression in a time zone, daylight saving included: an hour that is skipped is made up for at
/// its end, an hour that comes twice counts once for fixed times.
#[derive(Clone, Debug)]
pub struct Schedule {
    cron: Cron,
    zone: TimeZone,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    #[error("`{expression}` is no cron expression: {reason}")]
    Cron { expression: String, reason: String },
    #[error("there is no time zone `{0}`")]
    Zone(String),
}

impl Schedule {
    /// Five fields (minute, hour, day of month, month, day of week), or six with seconds first; a name of the IANA time
    /// zone database.
    ///
    /// # Errors
    /// When one of them is not what it should be.
    pub fn parse(cron: &str, zone: &str) -> Result<Self, ScheduleError> {
        let wrong = |reason: String| ScheduleError::Cron {
            expression: cron.chars().take(80).collect(),
            reason,
        };
        if cron.len() > 256 {
            return Err(wrong("it is longer than 256 characters".to_owned()));
        }
        let parser = CronParser::builder().seconds(Seconds::Optional).year(Year::Disallowed).build();
        let parsed = parser.parse(cron).map_err(|error| wrong(error.to_string()))?;
        let zone = TimeZone::get(zone).map_err(|_| ScheduleError::Zone(zone.chars().take(80).collect()))?;
        Ok(Self { cron: parsed, zone })
    }

    fn zoned(&self, at: Timestamp) -> Option<Zoned> {
        let micros = i64::try_from(at.0).ok()?;
        let at = jiff::Timestamp::from_microsecond(micros).ok()?;
        Some(at.to_zoned(self.zone.clone()))
    }

    /// The first instant after `at`; None if none will come.
    #[must_use]
    pub fn next_after(&self, at: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&self.zoned(at)?, false).ok()?;
        instant(&next)
    }

    /// The instant to fire for at `now`, the last one fired for being `after`: the latest that has come and is not older
    /// than `catch_up`. Earlier ones that were missed are left out.
    #[must_use]
    pub fn due(&self, after: Timestamp, now: Timestamp, catch_up: Millis) -> Option<Timestamp> {
        let latest = self.cron.find_previous_occurrence(&self.zoned(now)?, true).ok()?;
        let latest = instant(&latest)?;
        (latest > after && latest <= now && now.since(latest) <= catch_up).then_some(latest)
    }

    /// An instant as people of the time zone write it, with its offset.
    #[must_use]
    pub fn show(&self, at: Timestamp) -> String {
        let shown = self.zoned(at).map(|zoned| zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
        shown.unwrap_or_default()
    }
}

fn instant(zoned: &Zoned) -> Option<Timestamp> {
    u64::try_from(zoned.timestamp().as_microsecond()).ok().map(Timestamp)
}

/// The name of a time zone that was probably meant.
pub(crate) fn like_zone(wrong: &str) -> Option<String> {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let lower = wrong.to_ascii_lowercase().replace(' ', "_");
    // A city without its continent.
    let city = names
        .iter()
        .find(|name| name.rsplit('/').next().is_some_and(|city| city.eq_ignore_ascii_case(&lower)));
    match city {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None => crate::suggest::did_you_mean(wrong, names.iter().map(String::as_str)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let zoned: jiff::Timestamp = text.parse().unwrap();
        Timestamp(u64::try_from(zoned.as_microsecond()).unwrap())
    }

    #[test]
    fn instants_follow_the_clock_of_the_zone() {
        for (cron, zone, from, next) in [
            ("0 2 * * *", "Asia/Shanghai", "2026-11-25T00:00:00Z", "2026-11-25T18:00:00Z"),
            ("*/2 * * * * *", "UTC", "2026-11-25T00:00:01Z", "2026-11-25T00:00:02Z"),
            ("30 8 * * MON", "Europe/Berlin", "2026-11-25T00:00:00Z", "2026-11-30T07:30:00Z"),
            // Summer time begins: 02:30 is skipped on 2026-03-29 and made up for at 03:00 local time.
            ("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"),
        ] {
            let schedule = Schedule::parse(cron, zone).unwrap();
            assert_eq!(schedule.next_after(at(from)), Some(at(next)), "{cron} {zone}");
        }
    }

    #[test]
    fn of_missed_instants_the_latest_counts_within_its_bound() {
        let schedule = Schedule::parse("0 * * * *", "UTC").unwrap();
        let hour = Millis::from_secs(3_600);
        for (after, now, catch_up, due) in [
            ("2026-11-25T10:00:00Z", "2026-11-25T10:59:59Z", hour, None),
            ("2026-11-25T10:00:00Z", "2026-11-25T11:00:00Z", hour, Some("2026-11-25T11:00:00Z")),
            ("2026-11-25T10:00:00Z", "2026-11-25T15:30:00Z", hour, Some("2026-11-25T15:00:00Z")),
            ("2026-11-25T10:00:00Z", "2026-11-25T15:30:00Z", Millis::from_secs(60), None),
            ("2026-11-25T15:00:00Z", "2026-11-25T15:00:00Z", hour, None),
            // The clock went back.
            ("2026-11-26T10:00:00Z", "2026-11-25T15:30:00Z", hour, None),
        ] {
            assert_eq!(schedule.due(at(after), at(now), catch_up), due.map(at), "{after} {now}");
        }
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for wrong in ["", "* * *", "61 * * * *", "0 2 * * * * 2030", "every day", "0 25 * * *"] {
            assert!(Schedule::parse(wrong, "UTC").is_err(), "{wrong}");
        }
        assert_eq!(
            Schedule::parse("* * * * *", "Shanghai").err(),
            Some(ScheduleError::Zone("Shanghai".into()))
        );
        assert_eq!(like_zone("shanghai").as_deref(), Some("did you mean `Asia/Shanghai`?"));
    }
}
