// Package suggest finds the known name that a mistyped one most likely stands for: a flag, a key of a file, a scenario.
package suggest

import "strings"

// maxLength is the length in bytes above which a word is no typing error of anything. It bounds the work of a comparison.
const maxLength = 64

// shortest is how many letters the beginning of a name must have to stand for the name.
const shortest = 3

// Nearest returns the name of known that someone who typed word most likely meant: one that takes few single letters to
// insert, delete, replace or swap with their neighbour (at most one in three), else one that word begins, or that begins
// word up to a hyphen, underscore or dot. The first of equals is returned, "" if none is near. Case does not count.
func Nearest(word string, known []string) string {
	if len(word) < 2 || len(word) > maxLength {
		return ""
	}
	w := strings.ToLower(word)
	best, begins, bound := "", "", max(1, len(word)/3)
	for _, name := range known {
		if len(name) > maxLength {
			continue
		}
		k := strings.ToLower(name)
		if n := distance(w, k); n <= bound {
			best, bound = name, n-1
		}
		if begins == "" && (len(w) >= shortest && strings.HasPrefix(k, w) || len(k) >= shortest && extends(w, k)) {
			begins = name
		}
	}
	if best == "" {
		return begins
	}
	return best
}

// extends reports whether word is name with more words appended.
func extends(word, name string) bool {
	rest, ok := strings.CutPrefix(word, name)
	return ok && rest != "" && strings.IndexByte("-_.", rest[0]) >= 0
}

// Meant ends an error about an unknown word: "; did you mean X?" when a name is near; else it is empty.
func Meant(word string, known []string) string {
	if near := Nearest(word, known); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// Names are those of all, for Nearest and Hint.
func Names[T any](all []T, of func(T) string) (names []string) {
	for _, x := range all {
		names = append(names, of(x))
	}
	return names
}

// Hint ends an error about an unknown word: "; did you mean X?" when a name is near, else "; want one of A, B". It is empty
// when nothing is known.
func Hint(word string, known []string) string {
	near := Meant(word, known)
	switch {
	case near != "" || len(known) == 0:
		return near
	case len(known) == 1:
		return "; want " + known[0]
	}
	return "; want one of " + strings.Join(known, ", ")
}

// distance is the number of bytes to insert, delete, replace or swap with their neighbour that turns a into b. No byte is
// changed twice.
func distance(a, b string) int {
	before, above, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := above[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(above[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}
