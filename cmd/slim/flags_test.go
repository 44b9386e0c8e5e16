package main

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
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
	for _, bounds := range []string{fmt.Sprintf("Event loops, 1 to %d", router.MaxLoops), "Read buffer of a loop, 4KiB to 64MiB", "16KiB or more", "1KiB or more"} {
		if !strings.Contains(helpText, bounds) {
			t.Errorf("--help does not say %q", bounds)
		}
	}
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
		"max-peers": fmt.Sprint(router.DefaultMaxPeers), "max-remotes": fmt.Sprint(router.DefaultMaxRemotes),
		"hold-timeout":  router.DefaultHoldTimeout.String(),
		"header-memory": fmt.Sprintf("%dMiB", router.DefaultHeaderMemory>>20),
		"max-header":    fmt.Sprintf("%dKiB", router.DefaultMaxHeader>>10),
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
		want int // -1: refused
	}{
		{"1", 1}, {"65536", 65536}, {"64KiB", 65536}, {"1MiB", 1 << 20}, {"1GiB", 1 << 30},
		{"", -1}, {"0", -1}, {"0KiB", -1}, {"-1", -1}, {"1.5MiB", -1}, {"1MB", -1}, {"KiB", -1}, {"9223372036854775807KiB", -1}, {"1 KiB", -1},
	} {
		got := -1
		b := byteSize{&got, 1, math.MaxInt}
		if err := b.Set(tt.in); got != tt.want || (err == nil) != (tt.want >= 0) {
			t.Errorf("Set(%q) = %v, value %d, want %d", tt.in, err, got, tt.want)
		}
	}
}

// A wrong value is a usage error that names the flag and says what it takes; zero is never taken for the default.
func TestWrongValues(t *testing.T) {
	for _, tt := range []struct{ args, flag, want string }{
		{"--loops 0", "--loops <N>", "want a whole number from 1 to 128"},
		{"--loops 129", "--loops <N>", "want a whole number from 1 to 128"},
		{"--loops -1", "--loops <N>", "want a whole number from 1 to 128"},
		{"--loops many", "--loops <N>", "want a whole number from 1 to 128"},
		{"--loops 1e3", "--loops <N>", "want a whole number from 1 to 128"},
		{"--loops=", "--loops <N>", "want a whole number from 1 to 128"},
		{"--read-buffer 0", "--read-buffer <BYTES>", "want 4KiB to 64MiB"},
		{"--read-buffer 4095", "--read-buffer <BYTES>", "want 4KiB to 64MiB"},
		{"--read-buffer 65MiB", "--read-buffer <BYTES>", "want 4KiB to 64MiB"},
		{"--conn-buffer 0", "--conn-buffer <BYTES>", "want 16KiB or more"},
		{"--conn-buffer 16383", "--conn-buffer <BYTES>", "want 16KiB or more"},
		{"--conn-buffer 1MB", "--conn-buffer <BYTES>", "want a number of bytes such as 65536, 64KiB or 1MiB"},
		{"--slow-consumer never", "--slow-consumer <POLICY>", "want one of adaptive, block, drop, disconnect"},
		{"--stall-timeout 0", "--stall-timeout <DURATION>", "want more than zero; --slow-consumer drop does not wait"},
		{"--stall-timeout 0s", "--stall-timeout <DURATION>", "want more than zero; --slow-consumer drop does not wait"},
		{"--stall-timeout -5s", "--stall-timeout <DURATION>", "want more than zero; --slow-consumer drop does not wait"},
		{"--stall-timeout 5", "--stall-timeout <DURATION>", "want a number with a unit, such as 250ms, 30s or 5m"},
		{"--stall-rate 0", "--stall-rate <BYTES>", "want 1 or more"},
		{"--max-subscriptions 0", "--max-subscriptions <N>", "want a whole number, 1 or more"},
		{"--max-subscriptions -1", "--max-subscriptions <N>", "want a whole number, 1 or more"},
		{"--max-header 0", "--max-header <BYTES>", "want 1KiB or more"},
		{"--max-header 1023", "--max-header <BYTES>", "want 1KiB or more"},
		{"--max-names 0", "--max-names <N>", "want a whole number, 1 or more"},
		{"--max-sockets 0", "--max-sockets <N>", "want a whole number, 1 or more"},
		{"--max-connections -1", "--max-connections <N>", "want a whole number, 1 or more"},
		{"--max-unfinished 4MiB", "--max-unfinished <BYTES>", "want 8MiB or more"},
		{"--max-queued 1000KiB", "--max-queued <BYTES>", "want 1MiB or more"},
		{"--max-name-bytes 0", "--max-name-bytes <BYTES>", "want 1 or more"},
		{"--accept-kinds local", "--accept-kinds <KINDS>", "want some of edge, remote and peer, with commas between"},
		{"--accept-kinds edge,", "--accept-kinds <KINDS>", "want some of edge, remote and peer, with commas between"},
		{"--max-peers 0", "--max-peers <N>", "want a whole number from 1 to 256"},
		{"--max-peers 257", "--max-peers <N>", "want a whole number from 1 to 256"},
		{"--max-remotes 0", "--max-remotes <N>", "want a whole number from 1 to 2147483647"},
		{"--log-level loud", "--log-level <LEVEL>", "want one of trace, debug, info, warn, error, off"},
		{"--log-format xml", "--log-format <FORMAT>", "want one of text, json"},
		{"--strict-config=perhaps", "--strict-config", "want true or false, or nothing"},
	} {
		r := newRig()
		code := r.program.run(t.Context(), strings.Fields(tt.args))
		_, value, _ := strings.Cut(strings.Replace(tt.args, " ", "=", 1), "=")
		want := fmt.Sprintf("error: invalid value '%s' for '%s': %s\n", value, tt.flag, tt.want)
		if code != cli.ExitUsage || !strings.HasPrefix(r.errs.String(), want) {
			t.Errorf("slim %s: exit %d, %s\nwant exit 2, %s", tt.args, code, &r.errs, want)
		}
		if len(r.options) > 0 {
			t.Errorf("slim %s starts a node", tt.args)
		}
	}
}

// Every flag that takes a number is among those above.
func TestNoFlagTakesZero(t *testing.T) {
	new(flags).flagSet().VisitAll(func(f *pflag.Flag) {
		switch f.Value.Type() {
		case "bool", "file", "word", "policy", "address": // port 0 is any that is free
			return
		}
		if f.Value.Set("0") == nil {
			t.Errorf("--%s takes 0: what does it mean?", f.Name)
		}
	})
}

// What the flags let through at their bounds, a node accepts.
func TestBoundsOfFlagsAreThoseOfTheNode(t *testing.T) {
	t.Parallel() // beside those that wait
	for _, args := range []string{
		"--loops 1 --read-buffer 4KiB --conn-buffer 16KiB --stall-timeout 1ns --stall-rate 1 --max-subscriptions 1 --max-header 1KiB",
		"--loops 1 --read-buffer 64MiB",
		"--max-sockets 1 --max-connections 1 --max-unfinished 8MiB --max-queued 1MiB",
		"--max-sockets 9223372036854775807 --max-connections 9223372036854775807 --max-unfinished 1048576GiB --max-queued 1048576GiB",
		"--max-names 1 --max-name-bytes 1 --accept-kinds edge --max-peers 1 --max-remotes 1",
		"--max-names 9223372036854775807 --max-name-bytes 1048576GiB --accept-kinds edge,remote,peer --max-peers 256",
		"--loops 128 --stall-timeout 1000h --stall-rate 1048576GiB --max-subscriptions 9223372036854775807 --conn-buffer 1048576GiB",
	} {
		r := newRig()
		r.start = startNode
		code := r.program.run(t.Context(), append(strings.Fields(args), "--config", "testdata/free-port.yaml"))
		if code != cli.ExitOK {
			t.Errorf("slim %s: exit %d, %s", args, code, &r.errs)
		}
	}
}

func TestUnknownFlagsNameTheNearest(t *testing.T) {
	for arg, want := range map[string]string{
		"--lop-level": "--log-level", "--lgo-format": "--log-format", "--loop": "--loops", "--vers": "--version",
		"--stall_timeout": "--stall-timeout", "--config-file": "--config", "-loops": "--loops", "--frobnicate": "",
	} {
		r := newRig()
		code := r.program.run(t.Context(), []string{arg, "x"})
		_, tip, _ := strings.Cut(r.errs.String(), "  tip: a similar argument exists: ")
		tip, _, _ = strings.Cut(tip, "\n")
		if code != cli.ExitUsage || strings.Trim(tip, "'") != want {
			t.Errorf("slim %s: exit %d, tip %s, want %q", arg, code, tip, want)
		}
	}
}
