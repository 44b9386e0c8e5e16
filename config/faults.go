package config

import (
	"slices"
	"strings"
)

// Check reads the file at path as Load does, but goes on after a fault: faults are all that can be told from each
// other, and warnings those of Load, both in file order. The Config is nil if there is a fault.
//
// Where one fault makes another, only the first is told: a file that is no YAML has one, and what a check over several
// keys says counts only if nothing is wrong with those keys.
func Check(path string, env func(string) (string, bool)) (c *Config, faults []Reason, warnings []Warning) {
	b, err := readFile(path)
	if err != nil {
		return nil, []Reason{{File: path, Text: ioText(err)}}, nil
	}
	return check(path, b, env)
}

// maxFaults bounds what is told of one file.
const maxFaults = 100

// check is Check behind the file system.
func check(path string, b []byte, env func(string) (string, bool)) (c *Config, faults []Reason, warnings []Warning) {
	d := &decoder{file: path, context: contextLoad, collect: true}
	c = d.read(b, env)
	if faults = d.faults(); len(faults) > 0 {
		c = nil
	}
	return c, faults, d.warnings
}

// faults are those found, without what others have caused.
func (d *decoder) faults() (out []Reason) {
	var provided []Position // values that no provider has given
	var wrong []string      // paths whose values cannot be used
	var misfit []string     // those among them that somebody has given
	var checked []string    // paths
	for i, e := range d.found {
		r := e.Reasons[0]
		caused := slices.Contains(provided, r.Position)
		if i >= d.decoded {
			caused = caused || slices.Contains(checked, r.Path) || touches(wrong, r.Path)
			checked = append(checked, r.Path)
		} else {
			wrong = append(wrong, r.Path)
		}
		if slices.Contains(e.Context, providerError) {
			provided = append(provided, r.Position)
		} else if !caused {
			misfit = append(misfit, r.Path)
		}
		if !caused && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	for _, r := range d.refused { // what is missing is one thing, that the whole would not be taken another
		if len(out) < maxFaults && !touches(misfit, r.Path) && !slices.Contains(out, r) {
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Reason) int { return a.Position.compare(b.Position) })
	return out
}

// touches reports whether one of some key paths is related to p.
func touches(paths []string, p string) bool {
	return slices.ContainsFunc(paths, func(q string) bool { return related(p, q) })
}

// related reports whether one of two key paths is the other, or is within it.
func related(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.HasPrefix(b, a) && (len(a) == len(b) || b[len(a)] == '.' || b[len(a)] == '[')
}
