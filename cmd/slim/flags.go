package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/router"
)

// flags is the command line together with the variables that stand for flags.
type flags struct {
	config       string
	configSet    bool
	strictConfig bool
	version      bool
	help         bool

	loops            int
	readBuffer       byteSize // bytes
	connBuffer       byteSize // bytes
	slowConsumer     router.Policy
	stallTimeout     time.Duration
	stallRate        byteSize // bytes a second
	maxSubscriptions int

	logLevel  string // "": the configuration or RUST_LOG decides
	logFormat string // "text" or "json"
}

// flagSet declares the flags; their meaning stands in helpText.
func (f *flags) flagSet() *pflag.FlagSet {
	s := pflag.NewFlagSet("slim", pflag.ContinueOnError)
	s.SetOutput(io.Discard)
	s.Usage = func() {}
	s.SortFlags = false
	s.VarP(&once{to: &f.config, set: &f.configSet}, "config", "c", "")
	s.BoolVar(&f.strictConfig, "strict-config", false, "")
	s.BoolVarP(&f.version, "version", "v", false, "")
	s.BoolVarP(&f.help, "help", "h", false, "")
	s.IntVar(&f.loops, "loops", 0, "")
	s.Var(&f.readBuffer, "read-buffer", "")
	s.Var(&f.connBuffer, "conn-buffer", "")
	s.Var((*policy)(&f.slowConsumer), "slow-consumer", "")
	s.DurationVar(&f.stallTimeout, "stall-timeout", 0, "")
	s.Var(&f.stallRate, "stall-rate", "")
	s.IntVar(&f.maxSubscriptions, "max-subscriptions", 0, "")
	s.Var(&choice{to: &f.logLevel, words: cli.LevelWords}, "log-level", "")
	f.logFormat = "text"
	s.Var(&choice{to: &f.logFormat, words: []string{"text", "json"}}, "log-format", "")
	return s
}

// parseFlags reads the arguments behind the program's name. Errors are usage errors, worded as upstream's.
func parseFlags(args []string, env func(string) (string, bool)) (*flags, error) {
	f := &flags{}
	s := f.flagSet()
	if err := s.Parse(args); err != nil {
		return nil, usageError(err, s)
	}
	if f.help {
		return f, nil
	}
	if s.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument '%s' found", s.Arg(0))
	}
	if v, ok := env("CONFIG"); ok && !f.configSet {
		f.config, f.configSet = v, true
	}
	if f.version && f.configSet {
		return nil, errors.New("the argument '--version' cannot be used with '--config <FILE>'")
	}
	switch {
	case f.loops < 0:
		return nil, fmt.Errorf("invalid value '%d' for '--loops <N>': must not be negative", f.loops)
	case f.maxSubscriptions < 0:
		return nil, fmt.Errorf("invalid value '%d' for '--max-subscriptions <N>': must not be negative", f.maxSubscriptions)
	case f.stallTimeout < 0:
		return nil, fmt.Errorf("invalid value '%s' for '--stall-timeout <DURATION>': must not be negative", f.stallTimeout)
	}
	return f, nil
}

// asksForJSON reports whether a command line that is wrong elsewhere asks for JSON.
func asksForJSON(args []string) bool {
	if end := slices.Index(args, "--"); end >= 0 {
		args = args[:end]
	}
	for i, a := range args {
		if a == "--log-format=json" || a == "json" && i > 0 && args[i-1] == "--log-format" {
			return true
		}
	}
	return false
}

// usageError rewords what pflag says.
func usageError(err error, s *pflag.FlagSet) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = "-" + unknown.GetSpecifiedName()
		}
		if near := nearFlag(name, s); near != "" {
			return fmt.Errorf("unexpected argument '%s' found\n\n  tip: a similar argument exists: '%s'", name, near)
		}
		return fmt.Errorf("unexpected argument '%s' found", name)
	case errors.As(err, &missing):
		return fmt.Errorf("a value is required for '%s' but none was supplied", placeholder(missing.GetFlag()))
	case errors.As(err, &invalid):
		if errors.Is(err, errTwice) {
			return fmt.Errorf("the argument '%s' cannot be used multiple times", placeholder(invalid.GetFlag()))
		}
		return fmt.Errorf("invalid value '%s' for '%s': %w", invalid.GetValue(), placeholder(invalid.GetFlag()), reason(invalid))
	}
	return err
}

// reason drops the package and function names that strconv puts in front.
func reason(err error) error {
	var number *strconv.NumError
	if errors.As(err, &number) {
		return errors.New("not a whole number in range")
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// placeholder names a flag with its value: "--loops <N>".
func placeholder(f *pflag.Flag) string {
	for line := range strings.Lines(helpText) {
		if _, rest, ok := strings.Cut(line, "--"+f.Name+" <"); ok {
			value, _, _ := strings.Cut(rest, ">")
			return "--" + f.Name + " <" + value + ">"
		}
	}
	return "--" + f.Name
}

// nearFlag returns the flag that a mistyped one begins or is begun by.
func nearFlag(name string, s *pflag.FlagSet) (near string) {
	s.VisitAll(func(f *pflag.Flag) {
		if long := "--" + f.Name; len(name) > 4 && (strings.HasPrefix(long, name) || strings.HasPrefix(name, long)) {
			near = long
		}
	})
	return near
}

var errTwice = errors.New("given twice")

// once is a string flag that may be given once.
type once struct {
	to  *string
	set *bool
}

func (o *once) Set(v string) error {
	if *o.set {
		return errTwice
	}
	*o.to, *o.set = v, true
	return nil
}
func (o *once) String() string { return "" }
func (o *once) Type() string   { return "file" }

// choice is a flag with a few words.
type choice struct {
	to    *string
	words []string
}

func (c *choice) Set(v string) error {
	if !slices.Contains(c.words, v) {
		return fmt.Errorf("want one of %s", strings.Join(c.words, ", "))
	}
	*c.to = v
	return nil
}
func (c *choice) String() string { return "" }
func (c *choice) Type() string   { return "word" }

// policy is the flag of router.Policy.
type policy router.Policy

func (p *policy) Set(v string) error {
	parsed, err := router.ParsePolicy(v)
	if err != nil {
		return errors.New("want one of adaptive, block, drop, disconnect")
	}
	*p = policy(parsed)
	return nil
}
func (p *policy) String() string { return router.Policy(*p).String() }
func (p *policy) Type() string   { return "policy" }

// byteSize is a flag in bytes: a whole number, alone or with KiB, MiB or GiB.
type byteSize int64

func (b *byteSize) Set(v string) error {
	number, shift := v, 0
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if rest, ok := strings.CutSuffix(v, unit); ok {
			number, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt>>shift {
		return errors.New("want a number of bytes such as 65536, 64KiB or 1MiB")
	}
	*b = byteSize(n << shift)
	return nil
}
func (b *byteSize) String() string { return strconv.FormatInt(int64(*b), 10) }
func (b *byteSize) Type() string   { return "bytes" }
