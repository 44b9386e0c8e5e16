package main

import (
	"fmt"
	"runtime/debug"
)

// Set by the linker (-X main.version=1.2.3); what is empty comes from the build's own records.
var (
	version   = ""
	buildDate = ""
	gitSHA    = ""
)

// buildInfo is what --version prints and the first log record shows.
type buildInfo struct{ Version, Date, SHA, Profile string }

// String returns upstream's four lines without a final line end.
func (b buildInfo) String() string {
	return fmt.Sprintf("Version:\t%s\nBuild Date:\t%s\nGit SHA:\t%s\nProfile:\t%s", b.Version, b.Date, b.SHA, b.Profile)
}

func readBuildInfo() buildInfo {
	b := buildInfo{Version: version, Date: buildDate, SHA: gitSHA, Profile: "release"}
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
