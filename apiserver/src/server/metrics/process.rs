//! What the kernel knows of this process, under the names every Prometheus client uses.

use std::fmt::Write;

/// Clock ticks a second, which Linux fixes for what it shows in `/proc`.
const TICKS: f64 = 100.0;
const PAGE: u64 = 4096;

/// Appends the metrics; what cannot be read is left out.
pub fn write(out: &mut String) {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return };
    // The name before it may hold blanks.
    let Some((_, rest)) = stat.rsplit_once(") ") else { return };
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |i: usize| fields.get(i).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    let (user, system, started, virtual_bytes, pages) =
        (number(11), number(12), number(19), number(20), number(21));
    let mut gauge = |name: &str, kind: &str, value: f64| {
        // Writing to a string cannot fail.
        writeln!(out, "# TYPE {name} {kind}\n{name} {value}").unwrap_or_default();
    };
    gauge("process_cpu_seconds_total", "counter", (user + system) as f64 / TICKS);
    gauge("process_resident_memory_bytes", "gauge", (pages * PAGE) as f64);
    gauge("process_virtual_memory_bytes", "gauge", virtual_bytes as f64);
    if let Some(boot) = boot_time() {
        gauge("process_start_time_seconds", "gauge", boot as f64 + started as f64 / TICKS);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        gauge("process_open_fds", "gauge", open.count() as f64);
    }
}

fn boot_time() -> Option<u64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_has_memory_and_a_beginning() {
        let mut text = String::new();
        super::write(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|l| l.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes") > 1e6, "{text}");
        assert!(value("process_start_time_seconds") > 1.6e9, "{text}");
        assert!(value("process_open_fds") >= 3.0, "{text}");
    }
}
