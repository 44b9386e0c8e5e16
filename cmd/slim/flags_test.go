package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/router"
)

func TestHelpNamesEveryFlag(t *testing.T) {
	new(flags).flagSet().VisitAll(func(f *pflag.Flag) {
		long := "--" + f.Name + " "
		if f.Value.Type() != "bool" {
			long = "--" + f.Name + " <"
		}
		if !strings.Contains(helpText, long) {
			t.Errorf("--help does not show %q", long)
		}
		if f.Shorthand != "" && !strings.Contains(helpText, "-"+f.Shorthand+", --"+f.Name) {
			t.Errorf("--help does not show -%s for --%s", f.Shorthand, f.Name)
		}
	})
	for line := range strings.Lines(helpText) {
		if len(line) > 121 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
}

// The defaults that --help states are those of the router.
func TestHelpStatesTheDefaults(t *testing.T) {
	for name, want := range map[string]string{
		"read-buffer": fmt.Sprintf("%dKiB", router.DefaultReadBuffer>>10), "conn-buffer": fmt.Sprintf("%dMiB", router.DefaultConnBuffer>>20),
		"slow-consumer": router.Policy(0).String(), "stall-timeout": router.DefaultStallTimeout.String(),
		"stall-rate": fmt.Sprintf("%dKiB", router.DefaultStallRate>>10), "max-subscriptions": fmt.Sprint(router.DefaultMaxSubscriptions),
	} {
		_, text, ok := strings.Cut(helpText, "--"+name+" <")
		_, text, ok2 := strings.Cut(text, "[default: ")
		got, _, ok3 := strings.Cut(text, "]")
		if !ok || !ok2 || !ok3 || got != want {
			t.Errorf("--%s: --help says default %q, the router has %q", name, got, want)
		}
	}
}

func TestByteSize(t *testing.T) {
	for _, tt := range []struct {
		in   string
		want int64 // -1: refused
	}{
		{"0", 0}, {"65536", 65536}, {"64KiB", 65536}, {"1MiB", 1 << 20}, {"2GiB", 2 << 30},
		{"", -1}, {"-1", -1}, {"1.5MiB", -1}, {"1MB", -1}, {"KiB", -1}, {"9223372036854775807KiB", -1}, {"1 KiB", -1},
	} {
		b := byteSize(-1)
		if err := b.Set(tt.in); int64(b) != tt.want || (err == nil) != (tt.want >= 0) {
			t.Errorf("Set(%q) = %v, value %d, want %d", tt.in, err, b, tt.want)
		}
	}
}
