output "head" {
  description = "The head's address, for ssh."
  value       = oci_core_instance.head.public_ip
}

output "tunnel" {
  description = "Makes the server reachable as grpcs://localhost:7070, which its certificate also names."
  value       = "ssh -N -L 7070:localhost:7070 -L 7071:localhost:7071 ubuntu@${oci_core_instance.head.public_ip}"
}

output "bucket_endpoint" {
  description = "The bucket's endpoint for clients of S3."
  value       = "https://${data.oci_objectstorage_namespace.this.namespace}.compat.objectstorage.${var.region}.oraclecloud.com"
}
