# Writes the shape, the type and the numbers of a NumPy array as JSON.
import json
import sys

import numpy

array = numpy.load(sys.argv[1])
json.dump({"type": array.dtype.str, "shape": array.shape, "numbers": array.tolist()}, sys.stdout)
