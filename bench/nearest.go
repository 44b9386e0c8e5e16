package bench

import (
	"slices"
	"strings"
)

// Nearest returns the name that takes the fewest changes of single letters to become the mistyped one.
func Nearest(mistyped string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	return slices.MinFunc(names, func(a, b string) int { return distance(a, mistyped) - distance(b, mistyped) })
}

// maxDistance bounds the letters that are compared: beyond it nobody has mistyped anything.
const maxDistance = 64

// distance is the number of single letters to insert, delete or replace between a and b.
func distance(a, b string) int {
	a, b = strings.ToLower(a[:min(len(a), maxDistance)]), strings.ToLower(b[:min(len(b), maxDistance)])
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		corner := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := corner
			if a[i] != b[j] {
				cost++
			}
			corner = row[j+1]
			row[j+1] = min(cost, row[j]+1, corner+1)
		}
	}
	return row[len(b)]
}
