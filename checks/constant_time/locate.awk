# Reads valgrind's list of errors and prints how often each bit of the file `declared` was acted on
# where it is declared to be. What is reported elsewhere is printed with its place instead.
#
# -v root=DIRECTORY is the one that paths are relative to.

BEGIN {
    while ((getline line < "declared") > 0) {
        if (line ~ /^#/) continue
        else if (line == "") stanza = ""
        else if (stanza == "") bits[stanza = line] = ""
        else bits[stanza] = bits[stanza] (bits[stanza] == "" ? "" : " < ") line
    }
}

{ sub(/^==[0-9]+== ?/, "") }

/^[0-9]+ errors in context/ { times = $1; place = ""; frames = 0; next }
times == 0 || /^Thread / { next }
/^ *$/ { count(); next }
/^Conditional jump or move depends/ { place = "branch"; next }
/^Use of uninitialised value/ { place = "address"; next }
/^ +(at|by) 0x/ {
    # The standard library, inlined or not, wherever its sources are.
    if (!/ \(\/rustc\// && !/\/rustlib\/src\/rust\/library\// && frames++ < 3)
        place = place " < " source($0)
    next
}
{ place = place $0 }

END {
    count()
    for (name in seen) print seen[name], name
}

function count(    bit, name) {
    if (times == 0) return
    name = "NOT DECLARED: " place
    for (bit in bits) if (index(place " < ", bits[bit] " < ") == 1) name = bit
    seen[name] += times
    times = 0
}

# The path and the text of the line that a frame names, or the frame where it names none.
function source(frame,    path, line, text) {
    sub(/^ +(at|by) 0x[0-9A-F]+: /, "", frame)
    if (!match(frame, /\([^()]*:[0-9]+\)$/)) return frame
    line = path = substr(frame, RSTART + 1, RLENGTH - 2)
    sub(/:[0-9]+$/, "", path)
    sub(/^.*:/, "", line)
    while (line-- > 0 && (getline text < path) > 0) continue
    close(path)
    gsub(/^ +| +$/, "", text)
    if (index(path, root "/") == 1) path = substr(path, length(root) + 2)
    # A crate of the registry: its name.
    if (sub(/^.*\/registry\/src\/[^\/]*\//, "", path)) sub(/-[0-9][0-9.]*\//, "/", path)
    return path ": " text
}
