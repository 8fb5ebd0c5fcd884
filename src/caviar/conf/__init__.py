"""Config groups that `- caviar: default` finds on Hydra's search path; Hydra takes them for a
package."""
