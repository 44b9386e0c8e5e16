package wire

// Unreserved lets tests reach the reduction of reserved ids, which no known identity hashes to.
var Unreserved = unreserved
