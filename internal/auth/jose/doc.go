// Package jose is what signs tokens and verifies them: the algorithms that count here, and the keys that fit them.
package jose
