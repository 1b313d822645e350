# Reads `objdump -dC` and prints the address of each call from outside of `core` that can end in the
# panic handler.

/^[0-9a-f]+ <.*>:$/ { sub(/^[0-9a-f]+ </, ""); sub(/>:$/, ""); here = $0; next }
/\t(call|j[a-z]+) .*<.*>$/ {
    address = $1
    sub(/:$/, "", address)
    sub(/^[^<]*</, "")
    sub(/(\+0x[0-9a-f]+)?>$/, "")
    if ($0 != here) { from[calls] = here; to[calls] = $0; at[calls++] = address }
}

END {
    panics["__rustc::rust_begin_unwind"]
    do {
        grown = 0
        for (n = 0; n < calls; n++)
            if (to[n] in panics && from[n] ~ /^core::/ && !(from[n] in panics)) {
                panics[from[n]]
                grown = 1
            }
    } while (grown)
    for (n = 0; n < calls; n++)
        if (to[n] in panics && !(from[n] in panics)) print at[n]
}
