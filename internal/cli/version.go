package cli

import (
	"fmt"
	"runtime/debug"
)

// Set by the linker (-X github.com/seed31b3bfd0/slimgo/internal/cli.version=1.2.3); what is empty comes from the build's own
// records.
var (
	version   = ""
	buildDate = ""
	gitSHA    = ""
)

// BuildInfo is what --version prints and the first log record shows.
type BuildInfo struct{ Version, Date, SHA, Profile string }

// String returns upstream's four lines without a final line end.
func (b BuildInfo) String() string {
	return fmt.Sprintf("Version:\t%s\nBuild Date:\t%s\nGit SHA:\t%s\nProfile:\t%s", b.Version, b.Date, b.SHA, b.Profile)
}

// ReadBuildInfo returns what linker and toolchain recorded about this program.
func ReadBuildInfo() BuildInfo {
	b := BuildInfo{Version: version, Date: buildDate, SHA: gitSHA, Profile: "release"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && b.SHA == "":
			b.SHA = s.Value[:min(9, len(s.Value))]
		case s.Key == "vcs.time" && b.Date == "":
			b.Date = s.Value
		case s.Key == "-race" && s.Value == "true", s.Key == "-tags" && s.Value == "invariants":
			b.Profile = "debug"
		}
	}
	if b.Version == "" {
		b.Version = "0.1.0"
	}
	return b
}
