package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/seed31b3bfd0/slimgo/internal/cli"
	"github.com/seed31b3bfd0/slimgo/internal/suggest"
	"github.com/seed31b3bfd0/slimgo/router"
	"github.com/seed31b3bfd0/slimgo/router/table"
)

// flags is the command line together with the variables that stand for flags.
type flags struct {
	config       string
	configSet    bool
	strictConfig bool
	version      bool
	help         bool

	// As in router.Options, where zero stands for the default: no flag takes a zero.
	loops            int
	readBuffer       int
	connBuffer       int
	slowConsumer     router.Policy
	slowConsumerSet  bool // else the configuration decides
	stallTimeout     time.Duration
	stallRate        int
	holdTimeout      time.Duration
	maxSubscriptions int
	maxHeader        int
	headerMemory     int
	maxNames         int
	maxSockets       int
	maxConnections   int
	maxUnfinished    int
	maxQueued        int
	maxNameBytes     int
	acceptKinds      table.Filter
	maxPeers         int
	maxRemotes       int
	noCompression    bool
	noDeregister     bool

	health string // address; "": none
	status bool
	pprof  bool

	auditLog    string // path, or "-"; "": none
	strictAuth  bool
	authIssuers issuers

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
	s.Var(&number{&f.loops, 1, router.MaxLoops}, "loops", "")
	s.Var(&byteSize{&f.readBuffer, router.MinReadBuffer, router.MaxReadBuffer}, "read-buffer", "")
	s.Var(&byteSize{&f.connBuffer, router.MinConnBuffer, math.MaxInt}, "conn-buffer", "")
	s.Var((*policy)(&f.slowConsumer), "slow-consumer", "")
	s.Var(&duration{&f.stallTimeout, "--slow-consumer drop does not wait"}, "stall-timeout", "")
	s.Var(&byteSize{&f.stallRate, 1, math.MaxInt}, "stall-rate", "")
	s.Var(&duration{&f.holdTimeout, "--slow-consumer drop does not wait"}, "hold-timeout", "")
	s.Var(&number{&f.maxSubscriptions, 1, math.MaxInt}, "max-subscriptions", "")
	s.Var(&byteSize{&f.maxHeader, router.MinMaxHeader, math.MaxInt}, "max-header", "")
	s.Var(&byteSize{&f.headerMemory, 1, math.MaxInt}, "header-memory", "")
	s.Var(&number{&f.maxNames, 1, math.MaxInt}, "max-names", "")
	s.Var(&byteSize{&f.maxNameBytes, 1, math.MaxInt}, "max-name-bytes", "")
	s.Var(&number{&f.maxSockets, 1, math.MaxInt}, "max-sockets", "")
	s.Var(&number{&f.maxConnections, 1, math.MaxInt}, "max-connections", "")
	s.Var(&byteSize{&f.maxUnfinished, router.MinMaxUnfinished, math.MaxInt}, "max-unfinished", "")
	s.Var(&byteSize{&f.maxQueued, router.MinMaxQueued, math.MaxInt}, "max-queued", "")
	s.Var((*kinds)(&f.acceptKinds), "accept-kinds", "")
	s.Var(&number{&f.maxPeers, 1, router.DefaultMaxPeers}, "max-peers", "")
	s.Var(&number{&f.maxRemotes, 1, math.MaxInt32}, "max-remotes", "")
	s.BoolVar(&f.noCompression, "no-compression", false, "")
	s.BoolVar(&f.noDeregister, "no-deregister", false, "")
	s.Var((*address)(&f.health), "health", "")
	s.BoolVar(&f.status, "status", false, "")
	s.BoolVar(&f.pprof, "pprof", false, "")
	s.Var(&once{to: &f.auditLog, set: new(bool)}, "audit-log", "")
	s.BoolVar(&f.strictAuth, "strict-auth", false, "")
	s.Var(&f.authIssuers, "auth-issuers", "")
	s.Var(&choice{to: &f.logLevel, words: cli.LevelWords}, "log-level", "")
	f.logFormat = "text"
	s.Var(&choice{to: &f.logFormat, words: []string{"text", "json"}}, "log-format", "")
	return s
}

// parseFlags reads the arguments behind the program's name. Errors are usage errors, worded as upstream's.
// Rules: P-conf-1.
func parseFlags(args []string, env func(string) (string, bool)) (*flags, error) {
	f := &flags{}
	s := f.flagSet()
	if err := s.Parse(args); err != nil {
		return nil, usageError(err, s, helpText)
	}
	if f.help {
		return f, nil
	}
	f.slowConsumerSet = s.Changed("slow-consumer")
	if s.NArg() > 0 {
		return nil, unexpected(s.Arg(0), "a configuration is named by '--config <FILE>'")
	}
	if err := f.checkOperation(); err != nil {
		return nil, err
	}
	if v, ok := env("CONFIG"); ok && !f.configSet {
		f.config, f.configSet = v, true
	}
	if f.version && f.configSet {
		return nil, errors.New("the argument '--version' cannot be used with '--config <FILE>'")
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

// usageError rewords what pflag says. help is the text that explains the flags.
func usageError(err error, s *pflag.FlagSet, help string) error {
	var unknown *pflag.NotExistError
	var missing *pflag.ValueRequiredError
	var invalid *pflag.InvalidValueError
	switch {
	case errors.As(err, &unknown):
		name, meant := "--"+unknown.GetSpecifiedName(), unknown.GetSpecifiedName()
		if short := unknown.GetSpecifiedShortnames(); short != "" {
			name, meant = "-"+unknown.GetSpecifiedName(), short // a long name after a single hyphen comes as a heap of short ones
		}
		if near := nearFlag(meant, s); near != "" {
			return fmt.Errorf("unexpected argument '%s' found\n\n  tip: a similar argument exists: '%s'", name, near)
		}
		return fmt.Errorf("unexpected argument '%s' found", name)
	case errors.As(err, &missing):
		return fmt.Errorf("a value is required for '%s' but none was supplied", placeholder(missing.GetFlag(), help))
	case errors.As(err, &invalid):
		if errors.Is(err, errTwice) {
			return fmt.Errorf("the argument '%s' cannot be used multiple times", placeholder(invalid.GetFlag(), help))
		}
		return fmt.Errorf("invalid value '%s' for '%s': %w", invalid.GetValue(), placeholder(invalid.GetFlag(), help), reason(invalid))
	}
	return err
}

// reason drops the package and function names that strconv puts in front.
func reason(invalid *pflag.InvalidValueError) error {
	err := errors.Unwrap(invalid)
	switch {
	case invalid.GetFlag().Value.Type() == "bool":
		return errors.New("want true or false, or nothing")
	case err == nil:
		return invalid
	}
	return err
}

// placeholder names a flag with its value: "--loops <N>".
func placeholder(f *pflag.Flag, help string) string {
	for line := range strings.Lines(help) {
		if _, rest, ok := strings.Cut(line, "--"+f.Name+" <"); ok {
			value, _, _ := strings.Cut(rest, ">")
			return "--" + f.Name + " <" + value + ">"
		}
	}
	return "--" + f.Name
}

// nearFlag returns the flag that a mistyped name most likely stands for, "" if there is none.
func nearFlag(name string, s *pflag.FlagSet) string {
	var names []string
	s.VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := suggest.Nearest(name, names); near != "" {
		return "--" + near
	}
	return ""
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

// kinds is a flag with the kinds that connections may claim.
type kinds table.Filter

func (k *kinds) Set(v string) error {
	parsed, err := router.ParseKinds(v)
	if err != nil {
		return errors.New("want some of edge, remote and peer, with commas between")
	}
	*k = kinds(parsed)
	return nil
}
func (k *kinds) String() string { return "" }
func (k *kinds) Type() string   { return "kinds" }

// issuers is a flag with URLs of issuers of tokens.
type issuers []string

func (x *issuers) Set(v string) error {
	var all []string
	for word := range strings.SplitSeq(v, ",") {
		word = strings.TrimSpace(word)
		if u, err := url.Parse(word); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
			return errors.New("want URLs such as https://idp.example.org, with commas between")
		}
		all = append(all, word)
	}
	*x = all
	return nil
}
func (x *issuers) String() string { return strings.Join(*x, ",") }
func (x *issuers) Type() string   { return "issuers" }

// number is a flag with a whole number from least to most.
type number struct {
	to          *int
	least, most int
}

func (n *number) Set(v string) error {
	i, err := strconv.Atoi(v)
	switch {
	case err == nil && i >= n.least && i <= n.most:
		*n.to = i
		return nil
	case n.most == math.MaxInt:
		return fmt.Errorf("want a whole number, %d or more", n.least)
	}
	return fmt.Errorf("want a whole number from %d to %d", n.least, n.most)
}
func (n *number) String() string { return strconv.Itoa(*n.to) }
func (n *number) Type() string   { return "number" }

// byteSize is a flag in bytes, from least to most: a whole number, alone or with KiB, MiB or GiB.
type byteSize struct {
	to          *int
	least, most int
}

func (b *byteSize) Set(v string) error {
	number, shift := v, 0
	for i, unit := range sizeUnits {
		if rest, ok := strings.CutSuffix(v, unit); ok {
			number, shift = rest, 10*(i+1)
		}
	}
	n, err := strconv.Atoi(number)
	switch {
	case err != nil || n < 0 || n > math.MaxInt>>shift:
		return errors.New("want a number of bytes such as 65536, 64KiB or 1MiB")
	case n<<shift >= b.least && n<<shift <= b.most:
		*b.to = n << shift
		return nil
	case b.most == math.MaxInt:
		return fmt.Errorf("want %s or more", sizeText(b.least))
	}
	return fmt.Errorf("want %s to %s", sizeText(b.least), sizeText(b.most))
}
func (b *byteSize) String() string { return strconv.Itoa(*b.to) }
func (b *byteSize) Type() string   { return "bytes" }

var sizeUnits = []string{"KiB", "MiB", "GiB"}

// sizeText is the shortest that Set reads as n.
func sizeText(n int) string {
	unit := ""
	for _, u := range sizeUnits {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.Itoa(n) + unit
}

// duration is a flag with a time that takes some.
type duration struct {
	to   *time.Duration
	zero string // what to use where zero was meant
}

func (d *duration) Set(v string) error {
	t, err := time.ParseDuration(v)
	switch {
	case err != nil:
		return errors.New("want a number with a unit, such as 250ms, 30s or 5m")
	case t <= 0:
		return errors.New("want more than zero; " + d.zero)
	}
	*d.to = t
	return nil
}
func (d *duration) String() string { return d.to.String() }
func (d *duration) Type() string   { return "duration" }
