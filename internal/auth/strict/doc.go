// Package strict reads what tokens are written in, whoever has issued them: the header of a request that brings one, its three parts,
// and JSON. What two readers could understand differently is refused. Nothing of what it returns is proven.
package strict
