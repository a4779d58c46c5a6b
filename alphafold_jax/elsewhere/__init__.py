# SPDX-License-Identifier: Apache-2.0
"""What the compilers of other machines say of our programs, on a machine without their devices.

targets    the machines, by name, with their published facts
compilers  their compilers, and what must be said before JAX starts
lowering   a pass of a prediction, a step of training
reading    memory, kernels and exchanges of a compiled program
products   its matrix products, in the forms that compilers write
counting   its work: operations, and traffic of memory
roofline   the time that this should take, a range
report     all of that for people and for programs
outlook    what our estimates say of a machine, without a compiler
"""
