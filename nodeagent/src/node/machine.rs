//! Facts about this machine, from /proc, /sys and /etc.

use std::path::Path;

/// What the node object says of the machine.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Machine {
    /// CPUs.
    pub cpus: i64,
    /// Bytes of memory.
    pub memory: i64,
    /// Bytes of the file system pods live on.
    pub storage: i64,
    /// Huge pages by size name (`2Mi`), in bytes.
    pub hugepages: Vec<(String, i64)>,
    /// Kernel release.
    pub kernel: String,
    /// Name of the distribution.
    pub os_image: String,
    /// `/etc/machine-id`.
    pub machine_id: String,
    /// System UUID of the firmware.
    pub system_uuid: String,
    /// Id of this boot.
    pub boot_id: String,
    /// Host name.
    pub hostname: String,
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// A value of /proc/meminfo in bytes.
pub fn meminfo(key: &str) -> Option<i64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
    line.trim().split(' ').next()?.parse::<i64>().ok().map(|kilobytes| kilobytes * 1024)
}

fn os_image(text: &str) -> String {
    text.lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map(|name| name.trim_matches('"').to_owned())
        .unwrap_or_else(|| "Linux".to_owned())
}

fn hugepages() -> Vec<(String, i64)> {
    let Ok(entries) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return Vec::new() };
    let mut found: Vec<(String, i64)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            let kilobytes: i64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let count: i64 =
                std::fs::read_to_string(entry.path().join("nr_hugepages")).ok()?.trim().parse().ok()?;
            let size = match kilobytes {
                kilobytes if kilobytes % (1 << 20) == 0 => format!("{}Gi", kilobytes >> 20),
                kilobytes if kilobytes % (1 << 10) == 0 => format!("{}Mi", kilobytes >> 10),
                kilobytes => format!("{kilobytes}Ki"),
            };
            Some((size, count * kilobytes * 1024))
        })
        .collect();
    found.sort();
    found
}

impl Machine {
    /// Reads the facts; what this machine does not have stays empty.
    pub fn read(data_dir: &Path) -> Machine {
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
        let storage = nix::sys::statvfs::statvfs(data_dir)
            .map(|stat| i64::try_from(stat.blocks().saturating_mul(stat.fragment_size())).unwrap_or(i64::MAX))
            .unwrap_or_default();
        Machine {
            cpus: i64::try_from(cpus).unwrap_or(1),
            memory: meminfo("MemTotal").unwrap_or_default(),
            storage,
            hugepages: hugepages(),
            kernel: read("/proc/sys/kernel/osrelease"),
            os_image: os_image(&read("/etc/os-release")),
            machine_id: read("/etc/machine-id"),
            system_uuid: read("/sys/class/dmi/id/product_uuid"),
            boot_id: read("/proc/sys/kernel/random/boot_id"),
            hostname: read("/proc/sys/kernel/hostname"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_something() {
        let machine = Machine::read(Path::new("/"));
        assert!(machine.cpus > 0 && machine.memory > 0 && machine.storage > 0 && !machine.kernel.is_empty());
        assert_eq!(os_image("A=1\nPRETTY_NAME=\"Debian 12\"\n"), "Debian 12");
    }
}
